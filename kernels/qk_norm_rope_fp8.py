"""`qk_norm_rope` for FP8 attention: the same queries and keys in E4M3 with one scale for 128 tokens of a head.

Softmax does not change when one vector is subtracted from every key, so any `center` is exact: with the mean of the
keys, which `key_center` estimates, the rest is smaller and E4M3 finer.

A program makes some heads of 128 tokens of q or of k, all heads where those programs fill the GPU. It walks the width
twice, first for the norm: 128 tokens are 384 KB, more than a multiprocessor holds. On the way back it takes the heads
last read first: what 132 programs have read is 52 MB, what lies between the two reads of a head is half of that on
average, and the second comes from the 50 MB of an H100's L2.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import capability_of, has_fp8, require_fp8
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.fp8_blocks import BLOCK_TOKENS, block_scale, blocks_of, quantized_ref
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.qk_norm_rope import STRIDES, check, constants, norm_rope_ref, turn_of, turned, turns_at
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import HEAD_WIDTH, WIDTH, Variant, pointers
from clear_rt.models.fp8 import E4M3

OP = "qk_norm_rope_fp8"
Quantized = tuple[Tensor, Tensor, Tensor, Tensor]
# Tokens between two of a sample. A prime: a step that shares a factor with the columns would leave some out.
_SAMPLE_STEP = 61
# About one for each multiprocessor of an H100.
_ENOUGH_PROGRAMS = 128


def key_center(k: Tensor, weight_k: Tensor, turns: Tensor, rows: int, columns: int, eps: float) -> Tensor:
    """Mean over a sample of tokens of the keys that attention sees: k [B, N, C] -> fp32 [B, H, D]."""
    token = torch.arange(0, k.shape[1], _SAMPLE_STEP, device=k.device)
    turn = turns_at(turns, token, rows, columns)
    return norm_rope_ref(k[:, ::_SAMPLE_STEP], weight_k, turn, eps).mean(1)


def qk_norm_rope_fp8_ref(
    q: Tensor,
    k: Tensor,
    weight_q: Tensor,
    weight_k: Tensor,
    turns: Tensor,
    rows: int,
    columns: int,
    eps: float,
    center: Tensor | None,
) -> Quantized:
    """The formula in fp32, quantised by `quantized_ref`."""
    turn = turns_at(turns, torch.arange(q.shape[1], device=q.device), rows, columns)
    keys = norm_rope_ref(k, weight_k, turn, eps)
    if center is not None:
        keys = keys - center[:, None]
    return *quantized_ref(norm_rope_ref(q, weight_q, turn, eps)), *quantized_ref(keys)


@triton.jit(do_not_specialize=["tokens", "heads_together", "rows", "columns", "positions"])
def qk_norm_rope_fp8_kernel(
    q_ptr,
    k_ptr,
    weight_q_ptr,
    weight_k_ptr,
    turns_ptr,
    center_ptr,
    q_out_ptr,
    q_scale_ptr,
    k_out_ptr,
    k_scale_ptr,
    q_batch_stride,
    q_token_stride,
    k_batch_stride,
    k_token_stride,
    tokens,
    heads_together,
    rows,
    columns,
    positions,
    eps,
    HEADS: tl.constexpr,
    HEAD_WIDTH: tl.constexpr,
    ROWS_FROM: tl.constexpr,
    COLUMNS_FROM: tl.constexpr,
    TOKENS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    width: tl.constexpr = HEADS * HEAD_WIDTH
    first, block, batch = tl.program_id(0) * heads_together, tl.program_id(1), (tl.program_id(2) // 2).to(tl.int64)
    is_key = tl.program_id(2) % 2 == 1
    token, value = block * TOKENS + tl.arange(0, TOKENS)[:, None], tl.arange(0, BLOCK)[None, :]
    within = token < tokens
    cosine, sine = turn_of(
        turns_ptr, token, within, rows, columns, positions, HEAD_WIDTH // 2, ROWS_FROM, COLUMNS_FROM, BLOCK // 2
    )
    held = value < HEAD_WIDTH
    inside = within & held
    token = token.to(tl.int64)
    if is_key:
        x_ptr = k_ptr + batch * k_batch_stride + token * k_token_stride + value
        weight_ptr, out_ptr, scale_ptr = weight_k_ptr, k_out_ptr, k_scale_ptr
    else:
        x_ptr = q_ptr + batch * q_batch_stride + token * q_token_stride + value
        weight_ptr, out_ptr, scale_ptr = weight_q_ptr, q_out_ptr, q_scale_ptr
    squares = tl.zeros([TOKENS, BLOCK], tl.float32)
    for head in range(HEADS):
        x = tl.load(x_ptr + head * HEAD_WIDTH, mask=inside, other=0.0).to(tl.float32)
        squares += x * x
    inverse = tl.where(within, tl.math.rsqrt(tl.sum(squares, 1)[:, None] / width + eps), 0.0)
    cosine, sine = cosine * inverse, sine * inverse
    head = tl.minimum(first + heads_together, HEADS) - 1
    while head >= first:
        at = head * HEAD_WIDTH
        x = tl.load(x_ptr + at, mask=inside, other=0.0).to(tl.float32)
        weight = tl.load(weight_ptr + at + value, mask=held, other=0.0).to(tl.float32)
        y = turned(x * weight, cosine, sine)
        if center_ptr is not None:
            center = tl.load(center_ptr + batch * width + at + value, mask=held & is_key, other=0.0)
            y = tl.where(inside, y - center, 0.0)
        scale = block_scale(tl.max(tl.abs(y)))
        tl.store(scale_ptr + (batch * HEADS + head) * tl.num_programs(1) + block, scale)
        out = out_ptr + (batch * tokens + token) * width + at + value
        tl.store(out, narrow(y * (1.0 / scale), out_ptr.dtype.element_ty), mask=inside)
        head -= 1


@torch.library.custom_op("clear_rt::qk_norm_rope_fp8", mutates_args=())
def qk_norm_rope_fp8(
    q: Tensor,
    k: Tensor,
    weight_q: Tensor,
    weight_k: Tensor,
    turns: Tensor,
    rows: int,
    columns: int,
    eps: float,
    center: Tensor | None = None,
) -> Quantized:
    """As `qk_norm_rope`, `center` fp32 [B, H, D] less from every key -> q8, q_scale, k8, k_scale.

    q8 and k8 are E4M3 [B, N, H, D], the scales fp32 [B, H, ceil(N / 128)].

    Raises as `qk_norm_rope`, and EngineError for a GPU that has no FP8.
    """
    contract = Contract(OP)
    check(contract, q, k, weight_q, weight_k, turns, rows, columns)
    found = q8, q_scale, k8, k_scale = _qk_norm_rope_fp8_fake(
        q, k, weight_q, weight_k, turns, rows, columns, eps, center
    )
    batches, tokens, heads, head_width = q8.shape
    if center is not None:
        contract.sizes |= {"H": heads, "D": head_width}
        contract.tensor("center", center, "B H D", (torch.float32,), dense_axes=3)
    require_fp8(OP, q)
    chosen = tile(OP, capability_of(q))
    if q8.numel():
        blocks = blocks_of(tokens)
        together = _heads_together(heads, 2 * batches * blocks)
        qk_norm_rope_fp8_kernel[triton.cdiv(heads, together), blocks, 2 * batches](
            q,
            k,
            weight_q,
            weight_k,
            turns,
            center,
            q8,
            q_scale,
            k8,
            k_scale,
            q.stride(0),
            q.stride(1),
            k.stride(0),
            k.stride(1),
            tokens,
            together,
            rows,
            columns,
            turns.shape[1],
            eps,
            **constants(heads, head_width),
            TOKENS=BLOCK_TOKENS,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )
    return found


@qk_norm_rope_fp8.register_fake
def _qk_norm_rope_fp8_fake(
    q: Tensor,
    k: Tensor,
    weight_q: Tensor,
    weight_k: Tensor,
    turns: Tensor,
    rows: int,
    columns: int,
    eps: float,
    center: Tensor | None = None,
) -> Quantized:
    batches, tokens, width = q.shape
    head_width = 2 * turns.shape[-1]
    heads = width // head_width
    values = [q.new_empty((batches, tokens, heads, head_width), dtype=E4M3) for _ in range(2)]
    scales = [q.new_empty((batches, heads, blocks_of(tokens)), dtype=torch.float32) for _ in range(2)]
    return values[0], scales[0], values[1], scales[1]


def _heads_together(heads: int, programs: int) -> int:
    """Heads of one program, fewer where `programs` of all heads would leave multiprocessors idle."""
    return triton.cdiv(heads, min(heads, max(1, _ENOUGH_PROGRAMS // programs)))


def variants(capability: int) -> Iterator[Variant]:
    """Of Wan's width, on chips that have FP8: with a center and without."""
    if not has_fp8(capability):
        return
    for dtype, centered in product(("bf16", "fp16"), (False, True)):
        given, absent = pointers(
            q_ptr=dtype,
            k_ptr=dtype,
            weight_q_ptr="fp32",
            weight_k_ptr="fp32",
            turns_ptr="fp32",
            center_ptr="fp32" if centered else None,
            q_out_ptr="fp8e4nv",
            q_scale_ptr="fp32",
            k_out_ptr="fp8e4nv",
            k_scale_ptr="fp32",
        )
        counts = dict.fromkeys(("tokens", "heads_together", "rows", "columns", "positions"), "i32")
        yield Variant(
            name="-".join([OP, dtype] + ["centered"] * centered),
            kernel=qk_norm_rope_fp8_kernel,
            arguments=given | STRIDES | counts | {"eps": "fp32"},
            constants=absent | constants(WIDTH // HEAD_WIDTH, HEAD_WIDTH) | {"TOKENS": BLOCK_TOKENS},
            aligned=tuple(STRIDES),
            tile=tile(OP, capability),
        )
