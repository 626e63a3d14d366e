"""What a runtime wants of a graph: an opset, a node for attention, and the type that is computed in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.export.onnx_attention import onnx_attention
from clear_rt.export.onnx_fp8 import writing_fp8
from clear_rt.models.attention import Attention, extended
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_blocks import AttentionBlock


@dataclass(frozen=True, slots=True)
class Dialect:
    """`attend` is for the transformer, `attend_pictures` for the one head, 384 channels wide, of the VAE.

    `halves`: the type between a graph's inputs and outputs, which are float32 but for what is only handed on.
    """

    opset: int
    attend: Attention
    attend_pictures: Attention
    halves: torch.dtype | None = None

    @contextmanager
    def spoken_by(self, model: nn.Module) -> Iterator[None]:
        """Every attention of the model as this runtime's nodes, every FP8 linear as nodes that quantise."""
        holders = [m for m in model.modules() if isinstance(m, (BakedDit, AttentionBlock))]
        before = [m.attend for m in holders]
        try:
            for holder in holders:
                holder.attend = self.attend if isinstance(holder, BakedDit) else self.attend_pictures
            with writing_fp8(model):
                yield
        finally:
            for holder, attend in zip(holders, before, strict=True):
                holder.attend = attend


def tensorrt_attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """As `clear_rt.models.attention.attention`, but as one Attention node of ONNX; it can be exported, not run.

    TensorRT-RTX keeps it as one pair of layers whose memory grows with the tokens, not with their square. A bias
    travels in extra columns of queries and keys; values are filled up to their width, which it wants, and cut again.
    """
    width, value_width = q.shape[3], v.shape[3]
    if key_bias is not None:
        q, k = extended(q, k, key_bias)
        v = functional.pad(v, (0, q.shape[3] - value_width))
    heads_first = [x.transpose(1, 2) for x in (q, k, v)]
    found = torch.onnx.ops.symbolic(
        "Attention",
        heads_first,
        {"scale": 1 / sqrt(width)},
        dtype=q.dtype,
        shape=heads_first[0].shape,
        version=23,
    )
    return found[..., :value_width].transpose(1, 2)


def spelled_attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """The same by two products and a softmax, which holds queries x keys: 30 MB for 1280x192, 415 MB for 1280x720.

    No library has a fused kernel for heads of more than 256 channels.
    """
    assert key_bias is None
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    return torch.matmul((torch.matmul(q, k.transpose(2, 3)) / sqrt(q.shape[3])).softmax(3), v).transpose(1, 2)


ONNX_RUNTIME = Dialect(opset=20, attend=onnx_attention, attend_pictures=onnx_attention)


def plugged_attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """The same with our kernel, a plugin, where there is a bias."""
    if key_bias is None:
        return tensorrt_attention(q, k, v, None)
    # Here, as it comes with the kernel, which needs Triton: who trains and exports for ONNX Runtime has none.
    from clear_rt.export.trt_plugin import plugin_attention

    return plugin_attention(q, k, v, key_bias)


def tensorrt(halves: torch.dtype, *, plugins: bool = False) -> Dialect:
    """Of strongly typed networks in bfloat16 or float16. Attention is part of ONNX from opset 23 on.

    `plugins`: for TensorRT itself; TensorRT-RTX has none.
    """
    attend = plugged_attention if plugins else tensorrt_attention
    return Dialect(opset=23, attend=attend, attend_pictures=spelled_attention, halves=halves)
