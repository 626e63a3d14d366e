"""Attention with one bias per key: O_i = sum_j softmax_j(q_i . k_j / sqrt(D) + b_j) v_j.

Occlusion-weighted attention has b_j = -beta * M_j: keys under the subtitle are trusted less. Collapsed text padding has
one key with b = ln(count). A program holds a block of queries of one head and walks the keys (`attention_blocks`), so
memory stays O(N). Blocks of one head are neighbours in the grid: their programs share its keys in the L2 cache.

On GPUs that fetch whole blocks `occlusion_attention_hopper` does the same, without a word, for tensors that suit it.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import sqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels import occlusion_attention_hopper as hopper
from clear_rt.kernels.attention_blocks import (
    HEAD_WIDTHS,
    LOWEST,
    OF_ANY_VALUE,
    attend_block,
    attend_tail,
    attention_variants,
    load_bias,
    load_tokens,
    operands,
    store_attention,
)
from clear_rt.kernels.chips import INTERPRETED, capability_of
from clear_rt.kernels.contract import FLOATS, HALVES, Contract
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant

OP = "occlusion_attention"
# Blocks of fp32 fit no chip's shared memory; the interpreter has none, and shows mistakes that halves would hide.
DTYPES = FLOATS if INTERPRETED else HALVES


def occlusion_attention_ref(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """The formula and the log of the sum of exp(logits), in fp32 at least; 0 and -inf where all biases are -inf."""
    wide = torch.promote_types(q.dtype, torch.float32)
    logits = torch.einsum("bnhd,bmhd->bhnm", q.to(wide), k.to(wide)) / sqrt(q.shape[-1])
    if bias is not None:
        logits = logits + bias[:, :, None]
    lse = logits.logsumexp(-1)
    weights = (logits - lse.where(lse > -torch.inf, 0)[..., None]).exp()
    return torch.einsum("bhnm,bmhd->bnhd", weights, v.to(wide)).to(q.dtype), lse


@triton.jit(do_not_specialize=OF_ANY_VALUE)
def occlusion_attention_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    out_ptr,
    lse_ptr,
    q_batch_stride,
    q_token_stride,
    q_head_stride,
    k_batch_stride,
    k_token_stride,
    k_head_stride,
    v_batch_stride,
    v_token_stride,
    v_head_stride,
    bias_batch_stride,
    bias_head_stride,
    queries,
    keys,
    HEAD_WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_TAIL: tl.constexpr,
):
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    q_ptr += batch * q_batch_stride + head * q_head_stride
    k_ptr += batch * k_batch_stride + head * k_head_stride
    v_ptr += batch * v_batch_stride + head * v_head_stride
    if bias_ptr is not None:
        bias_ptr += batch * bias_batch_stride + head * bias_head_stride
    rows = tl.program_id(0) * BLOCK_QUERIES + tl.arange(0, BLOCK_QUERIES)
    q = load_tokens(q_ptr, q_token_stride, rows, queries, HEAD_WIDTH)
    acc = tl.zeros([BLOCK_QUERIES, HEAD_WIDTH], tl.float32)
    row_sum = tl.zeros([BLOCK_QUERIES], tl.float32)
    row_max = tl.full([BLOCK_QUERIES], LOWEST, tl.float32)
    full = keys // BLOCK_KEYS * BLOCK_KEYS
    for start in range(0, full, BLOCK_KEYS):
        columns = start + tl.arange(0, BLOCK_KEYS)
        k = load_tokens(k_ptr, k_token_stride, columns, None, HEAD_WIDTH)
        v = load_tokens(v_ptr, v_token_stride, columns, None, HEAD_WIDTH)
        bias = load_bias(bias_ptr, columns, None)
        acc, row_sum, row_max = attend_block(q, k, v, bias, acc, row_sum, row_max)
    acc, row_sum, row_max = attend_tail(
        q,
        k_ptr,
        k_token_stride,
        v_ptr,
        v_token_stride,
        bias_ptr,
        full,
        keys,
        acc,
        row_sum,
        row_max,
        HEAD_WIDTH,
        BLOCK_TAIL,
    )
    heads = tl.num_programs(1)
    store_attention(out_ptr, lse_ptr, batch, head, heads, rows, queries, acc, row_sum, row_max, HEAD_WIDTH)


@torch.library.custom_op("clear_rt::occlusion_attention", mutates_args=())
def occlusion_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, with_lse: bool = False
) -> tuple[Tensor, Tensor]:
    """q [B, N, H, D], k and v [B, M, H, D] of one half, D 64 or 128 -> attention [B, N, H, D] in that dtype, dense.

    bias [B, H, M] fp32, finite or -inf for a key that is not seen; None is attention without one. All strides but the
    innermost may be any, such as those of views of a fused [B, N, 3 H D] and of an expanded bias.

    The second result is the log of the sum of exp(logits), fp32 [B, H, N], with which `merge_partials` joins groups of
    keys; [0] where not asked for. A query that sees no key has attention 0 and -inf.

    Raises:
        ValueError: other shapes or dtypes, no keys, or gaps within a head or between the biases of two keys.
        EngineError: no GPU.
    """
    _check(q, k, v, bias)
    capability = capability_of(q)
    out, lse = _occlusion_attention_fake(q, k, v, bias, with_lse)
    if out.numel():
        start = hopper.launch if hopper.suits(q, k, v, capability) else launch
        start(q, k, v, bias, out, lse if with_lse else None, capability)
    return out, lse


@occlusion_attention.register_fake
def _occlusion_attention_fake(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, with_lse: bool = False
) -> tuple[Tensor, Tensor]:
    batches, queries, heads, _ = q.shape
    lse_shape = (batches, heads, queries) if with_lse else (0,)
    return torch.empty(q.shape, dtype=q.dtype, device=q.device), q.new_empty(lse_shape, dtype=torch.float32)


def _check(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> None:
    contract = Contract(OP)
    contract.tensor("q", q, "B N H D", DTYPES)
    contract.tensor("k", k, "B M H D", (q.dtype,))
    contract.tensor("v", v, "B M H D", (q.dtype,))
    if bias is not None:
        contract.tensor("bias", bias, "B H M", (torch.float32,))
    if contract.sizes["D"] not in HEAD_WIDTHS:
        raise ValueError(f"{OP}: expected heads of 64 or 128 channels, got {contract.sizes['D']}")
    if not contract.sizes["M"]:
        raise ValueError(f"{OP}: expected at least one key, got none")


def launch(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, out: Tensor, lse: Tensor | None, capability: int
) -> None:
    """Fills `out` and `lse` as the op has them, from tensors that it has checked."""
    chosen = tile(OP, capability)
    batches, queries, heads, width = q.shape
    blocks = triton.cdiv(queries, chosen.blocks["BLOCK_QUERIES"])
    occlusion_attention_kernel[blocks, heads, batches](
        *operands(q, k, v, bias, out, lse),
        queries,
        k.shape[1],
        HEAD_WIDTH=width,
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Both head widths, with a bias and without."""
    yield from attention_variants(OP, occlusion_attention_kernel, capability, ("queries", "keys"))
