"""The networks of a bundle in torch, and everything that is made of them: graphs, weights, engines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from clear_rt.bundle import open_bundle
from clear_rt.export.bake import bake
from clear_rt.export.calibration import StepCodec, generator_spec, windows
from clear_rt.export.checked import Checked
from clear_rt.export.config import ExportConfig
from clear_rt.export.dialect import ONNX_RUNTIME, Dialect, tensorrt
from clear_rt.export.merge import merge_adapters
from clear_rt.export.plan_order import Axes
from clear_rt.export.plans import HALVES, Graphs, PlanSet
from clear_rt.export.quantize import calibrate, quantize
from clear_rt.export.scales import Scales, read_scales
from clear_rt.export.stored import Stored
from clear_rt.export.to_onnx import control_graph, decoder_graphs, encoder_graphs, step_graph
from clear_rt.models.baked import BakedDit
from clear_rt.models.config_json import as_json
from clear_rt.models.fp8_policy import Fp8Policy, calibrated
from clear_rt.models.narrowed import narrowed
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.models.weights import load_dit, load_vae
from clear_rt.runtime.torch_networks import TorchNetworks

Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Networks:
    """In float32 until they are `narrow`ed. `served` is `dit` itself, or its quantised form, which shares the rest."""

    dit: BakedDit
    served: BakedDit
    encoder: EncoderStep
    decoder: DecoderStep

    @property
    def parameters(self) -> int:
        parts = (self.dit, self.encoder, self.decoder)
        return sum(tensor.numel() for part in parts for tensor in part.state_dict().values())

    @property
    def reference(self) -> TorchNetworks:
        """What engines are compared with: as precise as the weights are now, and not quantised."""
        return TorchNetworks(self.dit, self.encoder, self.decoder)

    def graphs(self, dialect: Dialect, tell: Tell, fixed: Axes | None = None) -> Iterator[Graphs]:
        """A few at a time, as those of the transformer are large; for any size, or for one that is `fixed`."""
        tell("graph of the control")
        yield {"control": control_graph(self.served, dialect, fixed)}
        tell("graph of a step")
        yield {"step": step_graph(self.served, dialect, fixed)}
        tell("graphs of the VAE")
        yield encoder_graphs(self.encoder, dialect, fixed)
        yield decoder_graphs(self.decoder, dialect, fixed)


def load_networks(checked: Checked, prompt: Tensor, timesteps: Sequence[float]) -> Networks:
    """Merged and baked. Raises WeightsError where values cannot be read."""
    vae = load_vae(checked.found.vae, checked.found.vae_config)
    dit = load_dit(checked.found.dit, checked.sizes)
    merge_adapters(dit, checked.adapters)
    baked = bake(dit, prompt, timesteps)
    return Networks(baked, baked, EncoderStep.folded(vae), DecoderStep.folded(vae))


def quantized(networks: Networks, config: ExportConfig, checked: Checked) -> tuple[Networks, Scales]:
    """With what the policy names in FP8, by the scales that are given, or by what the clips show.

    Raises ConfigError for scales of another model or without modelopt, InputError for clips without text.
    """
    scales, policy = _scales(networks, config, checked), Fp8Policy(attention=config.fp8_attention)
    return replace(networks, served=quantize(networks.dit, scales, policy)), scales


def _scales(networks: Networks, config: ExportConfig, checked: Checked) -> Scales:
    if config.scales is not None:
        return read_scales(config.scales, calibrated(networks.dit.config))
    spec, prior = generator_spec(config, checked.found.vae_config), open_bundle(config.prior)
    with on_gpu(networks.dit, networks.encoder):
        codec = StepCodec(networks.encoder)
        return calibrate(networks.dit, lambda dit: _exhaust(windows(dit, config.clips, spec, codec, prior)))


def _exhaust(items: Iterator[object]) -> None:
    for _ in items:
        pass


def store(networks: Networks, config: ExportConfig, stored: Stored, vae_sizes: VaeConfig, tell: Tell) -> None:
    """Graphs for ONNX Runtime and weights for the engine `cuda`, whichever the bundle is for."""
    if "onnx" in config.engines:
        for graphs in networks.graphs(ONNX_RUNTIME, tell):
            for role, program in graphs.items():
                stored.add_graph(role, program)
    if "cuda" in config.engines:
        tell("weights for cuda")
        stored.add_weights("vae", networks.encoder.state_dict() | networks.decoder.state_dict(), as_json(vae_sizes))
        stored.add_weights("dit", networks.served.state_dict(), as_json(networks.dit.config))


def narrow(networks: Networks, config: ExportConfig) -> None:
    """Everything in the halves that TensorRT computes in, in place: the real model is not there twice."""
    own = dict(networks.dit.named_parameters())
    others = networks.served.named_parameters()
    shared = [(p, own[name]) for name, p in others if name in own and p.data_ptr() == own[name].data_ptr()]
    narrowed(networks.dit, HALVES[config.precision])
    for parameter, source in shared:
        parameter.data = source.data
    for network in (networks.served, networks.encoder, networks.decoder):
        narrowed(network, HALVES[config.precision])


def build_plans(networks: Networks, config: ExportConfig, plans: PlanSet, tell: Tell) -> None:
    """Engines of networks that were `narrow`ed."""
    plugs = plans.can_plug and networks.dit.config.occlusion
    for graphs in networks.graphs(tensorrt(HALVES[config.precision], plugins=plugs), tell, plans.only_axes):
        plans.add(graphs, has_plugins=plugs)


@contextmanager
def on_gpu(*modules: nn.Module) -> Iterator[None]:
    """Where torch sees a GPU, modules are on it inside: on a CPU a window of the real model takes hours."""
    if not torch.cuda.is_available():
        yield
        return
    try:
        for module in modules:
            module.to("cuda")
        yield
    finally:
        for module in modules:
            module.to("cpu")
