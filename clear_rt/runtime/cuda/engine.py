"""The `cuda` engine on a GPU: our kernels between torch's matrix products, replayed as CUDA graphs, one per shape.

Everything is computed in bfloat16 (float16 where the bundle says so), linears in FP8 where the bundle's are. Work runs
on one stream, so that all graphs share their memory. On the CPU there are no graphs; with `by_kernels` False the
references of the kernels run, which tests compare with other engines.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from clear_rt.bundle import Bundle
from clear_rt.errors import EngineError
from clear_rt.kernels.chips import capability_of
from clear_rt.models.narrowed import narrowed
from clear_rt.runtime.cuda.networks import CudaNetworks
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.runtime.torch import load_dit, load_vae


class CudaEngine(CudaNetworks):
    """The networks of a bundle; the prior stays on ONNX Runtime.

    Raises:
        BundleError: the weights do not fit the sizes that the manifest names.
        EngineError: the bundle holds no generator, there is no GPU for our kernels, or a network fails.
    """

    name = "cuda"

    def __init__(self, bundle: Bundle, *, by_kernels: bool = True) -> None:
        if bundle.generator is None:
            raise EngineError(f"--engine cuda: bundle {bundle.name} holds no generative model; use --engine onnx")
        self._prior = OnnxPrior(bundle.prior)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        if by_kernels:
            _require_gpu(device)
        networks = load_dit(bundle.generator, device), *load_vae(bundle.generator, device)
        if device.type == "cuda":
            half = torch.float16 if bundle.generator.precision == "fp16" else torch.bfloat16
            for network in networks:
                narrowed(network, half)
        super().__init__(*networks, by_kernels=by_kernels)

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior.occlusion(rgb)


def _require_gpu(device: torch.device) -> None:
    try:
        capability_of(torch.empty(0, device=device))
    except EngineError as error:
        raise EngineError(f"--kernels triton: {error}") from None
