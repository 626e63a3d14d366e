"""clear-tiny in narrower precisions by the engine cuda, calibrated on the clips themselves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from benchmarks.embedded_weights import embedded_dit, embedded_vae
from benchmarks.seen_inputs import largest_inputs
from benchmarks.trade_off_clips import Case
from clear_rt.bundle import Bundle
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig
from clear_rt.export.quantize import in_fp8
from clear_rt.export.scales import Scales
from clear_rt.models.baked import BakedDit
from clear_rt.models.fp8_policy import Fp8Policy, calibrated, quantized_linears, rounded_inputs
from clear_rt.models.narrowed import narrowed
from clear_rt.remover import Remover
from clear_rt.runtime.cuda.networks import CudaNetworks
from clear_rt.runtime.engine import Engine
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.runtime.torch_networks import TorchNetworks

BF16, LINEARS, ATTENTION, BOTH = "bf16", "FP8 linears", "FP8 attention", "FP8 linears and attention"
PRECISIONS = (BF16, LINEARS, ATTENTION, BOTH)
NO_GPU = "torch sees no GPU here"
_STEPS = 5


class PreciseEngine(CudaNetworks):
    """The networks of the embedded bundle, the transformer as it is given, with the bundle's prior."""

    name = "cuda"

    def __init__(self, dit: BakedDit, bundle: Bundle, *, by_kernels: bool) -> None:
        assert bundle.generator is not None
        encoder, decoder = embedded_vae(bundle.generator)
        for network in (dit, encoder.to(dit.time.device), decoder.to(dit.time.device)):
            narrowed(network, torch.bfloat16)
        super().__init__(dit, encoder, decoder, by_kernels=by_kernels)
        self._prior = OnnxPrior(bundle.prior)

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior.occlusion(rgb)


class _Watched(TorchNetworks):
    """The networks in float32, with the prior: what calibration looks at."""

    name = "watched"

    def __init__(self, dit: BakedDit, bundle: Bundle) -> None:
        assert bundle.generator is not None
        encoder, decoder = embedded_vae(bundle.generator)
        super().__init__(dit, encoder.to(dit.time.device), decoder.to(dit.time.device))
        self.occlusion = OnnxPrior(bundle.prior).occlusion


def engines_of(bundle: Bundle, precisions: Sequence[str], made: Sequence[Case]) -> tuple[dict[str, Engine], str | None]:
    """Engines by precision, bf16 first; none without a GPU, and why."""
    if not torch.cuda.is_available():
        return {}, NO_GPU
    wanted = [name for name in PRECISIONS if name == BF16 or name in precisions]
    return precise_engines(bundle, wanted, made[0], torch.device("cuda"), by_kernels=True), None


def precise_engines(
    bundle: Bundle, precisions: Sequence[str], case: Case, device: torch.device, *, by_kernels: bool
) -> dict[str, Engine]:
    """FP8 attention rounds queries, keys and values to E4M3 and attends in bf16: its quality, not its speed."""
    assert bundle.generator is not None
    scales = _seen(embedded_dit(bundle.generator).to(device), bundle, case)
    return {
        name: PreciseEngine(_narrow(name, bundle, scales, device), bundle, by_kernels=by_kernels) for name in precisions
    }


def _narrow(precision: str, bundle: Bundle, scales: Scales, device: torch.device) -> BakedDit:
    assert bundle.generator is not None
    dit = embedded_dit(bundle.generator).to(device)
    names = {
        BF16: (),
        LINEARS: quantized_linears(dit.config, Fp8Policy()),
        ATTENTION: rounded_inputs(dit.config, Fp8Policy(attention=True)),
        BOTH: (*quantized_linears(dit.config, Fp8Policy()), *rounded_inputs(dit.config, Fp8Policy(attention=True))),
    }[precision]
    return in_fp8(dit, scales, names) if names else dit


def _seen(dit: BakedDit, bundle: Bundle, case: Case) -> Scales:
    """The largest inputs of linears and attention while a clip is cleaned."""
    config = RunConfig(
        region=RegionConfig(mode="fixed", boxes=(case.band,)),
        composite=CompositeConfig(fill="model"),
        denoise=DenoiseConfig(steps=_STEPS),
    )
    with largest_inputs(dit, calibrated(dit.config)) as largest:
        Remover(config, bundle=bundle, engine=_Watched(dit, bundle))(case.source, case.path("calibrated"))
    return Scales(largest)
