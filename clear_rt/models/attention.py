"""Attention with one bias value per key, and the same thing for libraries that know no such bias.

O_i = sum_j softmax_j(q_i . k_j / sqrt(D) + b_j) v_j

Occlusion-weighted attention has b_j = -beta * M_j: keys under the subtitle are trusted less. Collapsed text padding has
b = ln(number of pad tokens) on one key (reference.md 1.7). Without a bias this is plain attention.
"""

from __future__ import annotations

from math import sqrt
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

BIAS_COLUMNS = 8
# What a query holds against a key's bias columns. A power of two, so that dividing the bias by it is exact.
_QUERY_VALUE = 8.0
# bfloat16 has 8 bits of significand: one column is 4e-3 off, three hold the 24 bits of a float32, so that their sum is
# exact; two of float16 hold 22. Wider types hold the bias in one column.
_PIECES = {torch.bfloat16: 3, torch.float16: 2}


class Attention(Protocol):
    """q [B, N, H, D], k [B, M, H, D], v [B, M, H, V], key_bias [B, H, M] or None -> [B, N, H, V], in the dtype of q."""

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor: ...


def attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """As `Attention`, by torch; the bias is a row that torch broadcasts over the queries."""
    mask = None if key_bias is None else key_bias[:, :, None, :].to(q.dtype)
    q, k, v = q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2)
    return functional.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2)


def attention_ref(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor | None) -> Tensor:
    """As `Attention`, by its formula, in float64."""
    q64, k64, v64 = (x.double() for x in (q, k, v))
    logits = torch.einsum("bnhd,bmhd->bhnm", q64, k64) / sqrt(q.shape[-1])
    if key_bias is not None:
        logits = logits + key_bias.double()[:, :, None, :]
    return torch.einsum("bhnm,bmhv->bnhv", logits.softmax(-1), v64).to(q.dtype)


def extended(q: Tensor, k: Tensor, key_bias: Tensor) -> tuple[Tensor, Tensor]:
    """The bias as `BIAS_COLUMNS` more columns of q and k, for attention whose scale stays 1 / sqrt(D) of the old D.

    q [B, N, H, D], k [B, M, H, D], key_bias [B, H, M], finite -> [B, N, H, D + 8], [B, M, H, D + 8]. In bfloat16 the
    columns add up to the bias to 2**-23 of it (the rounding of bias * sqrt(D) / 8 to float32), for D = 64 exactly.
    """
    pieces = _PIECES.get(k.dtype, 1)
    rest = key_bias.transpose(1, 2).to(torch.promote_types(k.dtype, torch.float32))[..., None]
    rest = rest * (sqrt(q.shape[-1]) / _QUERY_VALUE)
    columns = []
    for _ in range(pieces):
        columns.append(rest.to(k.dtype))
        rest = rest - columns[-1].to(rest.dtype)
    k_part = functional.pad(torch.cat(columns, -1), (0, BIAS_COLUMNS - pieces))
    q_part = q.new_zeros(BIAS_COLUMNS)
    q_part[:pieces] = _QUERY_VALUE
    return torch.cat((q, q_part.expand(*q.shape[:-1], -1)), -1), torch.cat((k, k_part.expand(*k.shape[:-1], -1)), -1)
