"""The trained networks of an ONNX bundle as torch models: weights read back out of its graphs.

The embedded clear-tiny ships as graphs alone. Their initialisers are what `export.to_onnx` made of a `BakedDit`:
parameters under their names, the weights of products transposed, and the prompt's keys widened by the padding's bias.
Those of the VAE keep their names, but for the gains of norms, which are multiplied by the root of their channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt
from typing import Any, TypeVar

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor

from clear_rt.bench.sizes import sizes_of
from clear_rt.bundle import GeneratorSpec
from clear_rt.models.attention import BIAS_COLUMNS
from clear_rt.models.baked import BakedConfig, BakedDit
from clear_rt.models.vae_blocks import RmsNorm
from clear_rt.models.vae_step import DecoderStep, EncoderStep

_Step = TypeVar("_Step", EncoderStep, DecoderStep)


class _Graph:
    """A graph's constants by name, casts of them included, and its nodes in order."""

    def __init__(self, graph: bytes) -> None:
        model = onnx.load_from_string(graph)
        self._nodes = list(model.graph.node)
        self.constants: dict[str, Any] = {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}
        for node in self._nodes:
            if node.op_type == "Cast" and node.input[0] in self.constants:
                self.constants[node.output[0]] = self.constants[node.input[0]].astype(np.float32)

    def tensor(self, name: str) -> Tensor:
        return torch.from_numpy(np.array(self.constants[name], np.float32))

    def nodes(self, kind: str, constant: int) -> list[Any]:
        """All nodes of a kind whose input of that number is a constant."""
        return [node for node in self._nodes if node.op_type == kind and node.input[constant] in self.constants]

    def linears(self) -> Iterator[tuple[str, Tensor]]:
        """Weights [out, in] of all linears with a bias, which alone kept its name."""
        products = {node.output[0]: node.input[1] for node in self.nodes("MatMul", 1)}
        for node in self.nodes("Add", 1):
            if node.input[0] in products and node.input[1].endswith(".bias"):
                yield f"{node.input[1].removesuffix('bias')}weight", self._turned(products[node.input[0]])

    def convolutions(self) -> Iterator[tuple[str, Tensor]]:
        """Weights and biases of all convolutions. Equal biases are stored once, under one of their names."""
        for node in self.nodes("Conv", 1):
            _, weight, bias = node.input
            yield weight, self.tensor(weight)
            yield f"{weight.removesuffix('weight')}bias", self.tensor(bias)

    def first_linear(self) -> Tensor:
        """The patch embedding, whose bias is none or added later."""
        return self._turned(self.nodes("MatMul", 1)[0].input[1])

    def _turned(self, name: str) -> Tensor:
        return self.tensor(name).T.contiguous()


def embedded_dit(spec: GeneratorSpec) -> BakedDit:
    """The transformer of a bundle for the engine onnx, as long as `export.to_onnx` made its graphs."""
    step, control = (_Graph(spec.graphs[role].graph) for role in ("step", "control"))
    words = step.nodes("MultiHeadAttention", 1)
    config = _config(step, words, spec)
    with torch.device("meta"):
        dit = BakedDit(config)
    state = {name: step.tensor(name) for name in dit.state_dict() if name in step.constants} | dict(step.linears())
    state |= {"embed.weight": step.first_linear(), "control.embed.weight": control.first_linear()}
    state["control.embed.bias"] = control.tensor("embed.bias")
    for i, node in enumerate(words):
        state |= {f"blocks.{i}.cross_attn.{name}": tensor for name, tensor in _prompt(step, node, config)}
    weighted = [i for i in range(config.layers) if config.is_weighted(i)]
    betas = [n.input[0] for n in step.nodes("Mul", 0) if step.constants[n.input[0]].shape == (config.heads, 1)]
    state |= {f"blocks.{i}.self_attn.beta": -step.tensor(name)[:, 0] for i, name in zip(weighted, betas, strict=True)}
    dit.load_state_dict(state, assign=True)
    return dit.place_turns(dit.time).requires_grad_(False).eval()


def _config(step: _Graph, words: list[Any], spec: GeneratorSpec) -> BakedConfig:
    timesteps, _, width = step.constants["time"].shape
    (heads,) = {attribute.i for attribute in words[0].attribute if attribute.name == "num_heads"}
    return BakedConfig(
        width=width,
        heads=heads,
        layers=len(words),
        ffn_width=len(step.constants["blocks.0.ffn.0.bias"]),
        latent_channels=spec.latent_channels,
        occlusion="occlusion_head.conv1.bias" in step.constants,
        text_keys=step.constants[words[0].input[1]].shape[1],
        timesteps=timesteps,
    )


def _prompt(step: _Graph, node: Any, config: BakedConfig) -> Iterator[tuple[str, Tensor]]:  # noqa: ANN401 - onnx
    """Keys, values and bias of one block's prompt; `models.attention.extended` made the bias a column of the keys."""
    width = config.head_width
    keys = step.tensor(node.input[1]).reshape(config.text_keys, config.heads, width + BIAS_COLUMNS)
    yield "k", keys[..., :width].contiguous()
    yield "bias", keys[:, 0, width] * (BIAS_COLUMNS / sqrt(width))
    yield "v", step.tensor(node.input[2]).reshape(config.text_keys, config.heads, width)


def embedded_vae(spec: GeneratorSpec) -> tuple[EncoderStep, DecoderStep]:
    """The steps of a bundle's VAE; those of the first step are the same without the convolutions over time."""
    sizes = sizes_of(spec).vae
    with torch.device("meta"):
        encoder, decoder = EncoderStep(sizes), DecoderStep(sizes)
    return _with_weights(encoder, spec, "encoder_next"), _with_weights(decoder, spec, "decoder_next")


def _with_weights(step: _Step, spec: GeneratorSpec, role: str) -> _Step:
    graph = _Graph(spec.graphs[role].graph)
    gains = [n.input[1] for n in graph.nodes("Mul", 1) if graph.constants[n.input[1]].shape[1:] in ((1, 1), (1, 1, 1))]
    state = dict(graph.convolutions())
    norms = [(name, module) for name, module in step.named_modules() if isinstance(module, RmsNorm)]
    for (name, norm), gain in zip(norms, gains, strict=True):
        state[f"{name}.gamma"] = graph.tensor(gain) / sqrt(len(norm.gamma))
    step.load_state_dict(state, assign=True)
    return step.requires_grad_(False).eval()
