"""FP8 of attention's inputs: E4M3 values with one scale for 128 tokens of a head; value = E4M3 x scale.

What produces queries, keys and values and the attention that reads them share this layout. An infinity makes its
whole block NaN, and a NaN stays one: neither is taken for 448.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.models.fp8 import E4M3_MAX, to_e4m3

BLOCK_TOKENS = 128
# Below it lie subnormal scales, whose reciprocal may be infinite.
_LEAST_SCALE = 2.0**-126


def blocks_of(tokens: int) -> int:
    """Scales of a head."""
    return -(-tokens // BLOCK_TOKENS)


def scale_ref(block: Tensor) -> Tensor:
    """block [..., T, D] -> [...]: amax / 448, which puts the largest value on the largest E4M3; 1 for zeros."""
    scale = block.abs().amax((-2, -1)) / E4M3_MAX
    return torch.where(scale < _LEAST_SCALE, 1.0, scale)


def quantized_ref(x: Tensor) -> tuple[Tensor, Tensor]:
    """x [B, N, H, D] -> E4M3 [B, N, H, D] and its scales fp32 [B, H, ceil(N / 128)]."""
    x = x.float()
    tokens, blocks = x.shape[1], blocks_of(x.shape[1])
    padded = functional.pad(x, (0, 0, 0, 0, 0, blocks * BLOCK_TOKENS - tokens))
    scale = scale_ref(padded.unflatten(1, (blocks, BLOCK_TOKENS)).permute(0, 3, 1, 2, 4))
    return to_e4m3(x / _of_tokens(scale, tokens)), scale


def dequantized(values: Tensor, scale: Tensor) -> Tensor:
    """E4M3 [B, N, H, D] and its scales -> fp32 [B, N, H, D]."""
    return values.float() * _of_tokens(scale, values.shape[1])


def _of_tokens(scale: Tensor, tokens: int) -> Tensor:
    """[B, H, blocks] -> [B, N, H, 1]."""
    return scale.repeat_interleave(BLOCK_TOKENS, -1)[..., :tokens].transpose(1, 2).unsqueeze(-1)


@triton.jit
def block_scale(largest):
    """`scale_ref` for the largest absolute value of a block; a plain `/` is off by up to 2 units on a GPU."""
    scale = tl.math.div_rn(largest, 448.0)
    return tl.where(scale < 2.0**-126, 1.0, scale)
