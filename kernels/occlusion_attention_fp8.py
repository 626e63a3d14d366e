"""`occlusion_attention` of E4M3 queries, keys and values: O_i = sum_j softmax_j(q_i . k_j / sqrt(D) + b_j) v_j.

One scale belongs to 128 tokens of a head, so within a block of keys every scale is one number. The weights become E4M3,
too, the largest seen so far being 448. Their sum is that of the rounded weights: O is then a true mean of values, and
its error a mean of v - O, not of v: a quarter where the mean of v is 4 times its deviation, and nowhere more. Tensor
cores take that sum as one more product, with ones: 600 instructions for 128 keys on sm_90, where adding up the rounded
weights makes it 734 and adding up the exact ones 623.

Hopper and Ada carry some 14 bits from product to product. A block's products therefore begin at 0, and are added in
fp32.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import sqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.attention_blocks import HEAD_WIDTHS, LOWEST, load_tokens, store_attention
from clear_rt.kernels.chips import capability_of, has_fp8, require_fp8
from clear_rt.kernels.contract import FLOATS, Contract
from clear_rt.kernels.fp8_blocks import BLOCK_TOKENS, blocks_of, dequantized, quantized_ref
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.quantize_values import quantize_values_ref
from clear_rt.kernels.tiles import Tile, tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.models.fp8 import E4M3, E4M3_MAX, to_e4m3

OP = "occlusion_attention_fp8"
# q8, q_scale, k8, k_scale, v8, v_scale.
Operands = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]

_LOG2E = tl.constexpr(1.4426950408889634)
# What the largest weight becomes, and its logarithm.
_TOP = tl.constexpr(E4M3_MAX)
_LOG2_TOP = tl.constexpr(8.807354922057604)
# Narrowest factor that Triton compiles for every chip, and 1 in E4M3, of which Triton 3.6 makes no constants.
_ONES = tl.constexpr(16)
_ONE = tl.constexpr(0x38)
_BLOCK_TOKENS = tl.constexpr(BLOCK_TOKENS)
_THREADS = tl.constexpr(256)


def occlusion_attention_fp8_ref(
    q8: Tensor,
    q_scale: Tensor,
    k8: Tensor,
    k_scale: Tensor,
    v8: Tensor,
    v_scale: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """The formula in fp64, of what the operands stand for."""
    q, k = dequantized(q8, q_scale).double(), dequantized(k8, k_scale).double()
    v = dequantized(v8.permute(0, 3, 1, 2), v_scale).double()[:, : k.shape[1]]
    weights = _weights(q, k, bias)
    total = weights.sum(-1, keepdim=True)
    return torch.einsum("bhnm,bmhd->bnhd", weights / total.where(total > 0, 1), v).to(dtype)


def fp8_algorithm_ref(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, center: Tensor | None) -> Tensor:
    """All of FP8 attention in fp32: q [B, N, H, D], k and v [B, M, H, D], `center` [B, H, D] less from every key.

    Weights are rounded relative to the largest of all keys, where the kernel, which knows fewer, rounds finer.
    """
    keys = k.float() if center is None else k.float() - center[:, None]
    q, k = dequantized(*quantized_ref(q)), dequantized(*quantized_ref(keys))
    v8, v_scale = quantize_values_ref(v)
    v = dequantized(v8.permute(0, 3, 1, 2), v_scale)[:, : k.shape[1]]
    weights = to_e4m3(_weights(q, k, bias) * E4M3_MAX).float()
    total = weights.sum(-1, keepdim=True)
    return torch.einsum("bhnm,bmhd->bnhd", weights / total.where(total > 0, 1), v)


def _weights(q: Tensor, k: Tensor, bias: Tensor | None) -> Tensor:
    """exp(logit - largest) [B, H, N, M]; 0 where all biases are -inf."""
    logits = torch.einsum("bnhd,bmhd->bhnm", q, k) / sqrt(q.shape[-1])
    if bias is not None:
        logits = logits + bias[:, :, None]
    return (logits - logits.amax(-1, keepdim=True).clamp(min=LOWEST.value)).exp()


@triton.jit
def _load_bias(bias_ptr, columns, keys):
    """Bias of the keys `columns` in base 2: -inf from `keys` on, without a mask where that is None. None where none is
    needed.

    Loaded in copies, one element for each thread: what has fewer elements Triton 3.6 lets every thread load wherever
    its logits need it, 32 loads instead of one.
    """
    if bias_ptr is None:
        bias = None if keys is None else tl.where(columns < keys, 0.0, -float("inf"))
    else:
        copies = columns[:, None] + tl.zeros([1, _THREADS // columns.shape[0]], tl.int32)
        if keys is None:
            loaded = tl.load(bias_ptr + copies)
        else:
            loaded = tl.load(bias_ptr + copies, mask=copies < keys, other=-float("inf"))
        bias = tl.max(loaded, 1) * _LOG2E
    return bias


@triton.jit
def _attend(q, q_scale, of_head, start, keys, acc, row_sum, row_max, BLOCK_KEYS: tl.constexpr):
    """Adds the keys from `start` on to what queries have seen; `keys` is None where the block ends before them."""
    k_ptr, k_scale_ptr, k_token_stride, v_ptr, v_scale_ptr, v_channel_stride, bias_ptr = of_head
    width: tl.constexpr = q.shape[1]
    columns = start + tl.arange(0, BLOCK_KEYS)
    k = load_tokens(k_ptr, k_token_stride, columns, keys, width)
    v = tl.load(v_ptr + tl.arange(0, width)[:, None] * v_channel_stride + columns[None, :])
    to_base_2 = q_scale * tl.load(k_scale_ptr + start // _BLOCK_TOKENS) * (width**-0.5 * _LOG2E)
    logits = tl.dot(q, tl.trans(k))
    bias = _load_bias(bias_ptr, columns, keys)
    # Without a bias the scale goes into the subtraction below.
    if bias is not None:
        logits = logits * to_base_2 + bias[None, :]
        to_base_2 = 1.0
    before = row_max
    row_max = tl.maximum(before, tl.max(logits, 1) * to_base_2)
    kept = tl.exp2(before - row_max)[:, None]
    weights = narrow(tl.exp2(logits * to_base_2 - (row_max - _LOG2_TOP)[:, None]), v.dtype)
    ones = tl.full([BLOCK_KEYS, _ONES], _ONE, tl.uint8).to(v.dtype, bitcast=True)
    # The factor also keeps Triton from adding within the product.
    row_sum = row_sum * kept + tl.dot(weights, ones) * (1.0 / _TOP)
    v_scale = tl.load(v_scale_ptr + start // _BLOCK_TOKENS) * (1.0 / _TOP)
    acc = acc * kept + tl.dot(weights, tl.trans(v)) * v_scale
    return acc, row_sum, row_max


@triton.jit(do_not_specialize=["queries", "keys"])
def occlusion_attention_fp8_kernel(
    q_ptr,
    q_scale_ptr,
    k_ptr,
    k_scale_ptr,
    v_ptr,
    v_scale_ptr,
    bias_ptr,
    out_ptr,
    q_batch_stride,
    q_token_stride,
    q_head_stride,
    k_batch_stride,
    k_token_stride,
    k_head_stride,
    v_batch_stride,
    v_head_stride,
    v_channel_stride,
    bias_batch_stride,
    bias_head_stride,
    queries,
    keys,
    HEAD_WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
):
    head, batch = tl.program_id(1).to(tl.int64), tl.program_id(2).to(tl.int64)
    heads = tl.num_programs(1)
    row = batch * heads + head
    q_ptr += batch * q_batch_stride + head * q_head_stride
    k_ptr += batch * k_batch_stride + head * k_head_stride
    v_ptr += batch * v_batch_stride + head * v_head_stride
    k_scale_ptr += row * tl.cdiv(keys, _BLOCK_TOKENS)
    v_scale_ptr += row * tl.cdiv(keys, _BLOCK_TOKENS)
    if bias_ptr is not None:
        bias_ptr += batch * bias_batch_stride + head * bias_head_stride
    of_head = (k_ptr, k_scale_ptr, k_token_stride, v_ptr, v_scale_ptr, v_channel_stride, bias_ptr)
    first = tl.program_id(0) * BLOCK_QUERIES
    rows = first + tl.arange(0, BLOCK_QUERIES)
    q = load_tokens(q_ptr, q_token_stride, rows, queries, HEAD_WIDTH)
    q_scale = tl.load(q_scale_ptr + row * tl.cdiv(queries, _BLOCK_TOKENS) + first // _BLOCK_TOKENS)
    acc = tl.zeros([BLOCK_QUERIES, HEAD_WIDTH], tl.float32)
    row_sum = tl.zeros([BLOCK_QUERIES, _ONES], tl.float32)
    row_max = tl.full([BLOCK_QUERIES], LOWEST, tl.float32)
    full = keys // BLOCK_KEYS * BLOCK_KEYS
    # Keys that fill no block come first: after the loop they take registers in it, on sm_120 40 bytes more than it has.
    if full < keys:
        acc, row_sum, row_max = _attend(q, q_scale, of_head, full, keys, acc, row_sum, row_max, BLOCK_KEYS)
    for start in range(0, full, BLOCK_KEYS):
        acc, row_sum, row_max = _attend(q, q_scale, of_head, start, None, acc, row_sum, row_max, BLOCK_KEYS)
    store_attention(out_ptr, None, batch, head, heads, rows, queries, acc, tl.max(row_sum, 1), row_max, HEAD_WIDTH)


@torch.library.custom_op("clear_rt::occlusion_attention_fp8", mutates_args=())
def occlusion_attention_fp8(
    q8: Tensor,
    q_scale: Tensor,
    k8: Tensor,
    k_scale: Tensor,
    v8: Tensor,
    v_scale: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    """What `qk_norm_rope_fp8` and `quantize_values` make, D 64 or 128 -> attention [B, N, H, D] in `dtype`, dense.

    q8 [B, N, H, D], k8 [B, M, H, D] and v8 [B, H, D, P], zeros from column M on, are E4M3, scales fp32 [B, H, blocks].
    bias [B, H, M] fp32, finite or -inf for a key that is not seen; None is attention without one. A query that sees no
    key has attention 0. Any stride of q8, k8, v8 and bias serves but the innermost.

    Raises:
        ValueError: other shapes or dtypes, no keys, or gaps within a head, a row of values or scales.
        EngineError: no GPU, or one that has no FP8.
    """
    operands = q8, q_scale, k8, k_scale, v8, v_scale
    _check(operands, bias, dtype)
    out = _occlusion_attention_fp8_fake(*operands, bias, dtype)
    if out.numel():
        launch(operands, bias, out, tile(OP, capability_of(q8), width=q8.shape[-1]))
    return out


@occlusion_attention_fp8.register_fake
def _occlusion_attention_fp8_fake(
    q8: Tensor,
    q_scale: Tensor,
    k8: Tensor,
    k_scale: Tensor,
    v8: Tensor,
    v_scale: Tensor,
    bias: Tensor | None,
    dtype: torch.dtype,
) -> Tensor:
    return torch.empty(q8.shape, dtype=dtype, device=q8.device)


def _check(operands: Operands, bias: Tensor | None, dtype: torch.dtype) -> None:
    q8, q_scale, k8, k_scale, v8, v_scale = operands
    contract = Contract(OP)
    contract.tensor("q8", q8, "B N H D", (E4M3,))
    contract.tensor("k8", k8, "B M H D", (E4M3,))
    if contract.sizes["D"] not in HEAD_WIDTHS:
        raise ValueError(f"{OP}: expected heads of 64 or 128 channels, got {contract.sizes['D']}")
    if not contract.sizes["M"]:
        raise ValueError(f"{OP}: expected at least one key, got none")
    blocks = blocks_of(contract.sizes["M"])
    contract.sizes |= {"N/128": blocks_of(contract.sizes["N"]), "M/128": blocks, "P": BLOCK_TOKENS * blocks}
    contract.tensor("v8", v8, "B H D P", (E4M3,))
    contract.tensor("q_scale", q_scale, "B H N/128", (torch.float32,), dense_axes=3)
    contract.tensor("k_scale", k_scale, "B H M/128", (torch.float32,), dense_axes=3)
    contract.tensor("v_scale", v_scale, "B H M/128", (torch.float32,), dense_axes=3)
    if bias is not None:
        contract.tensor("bias", bias, "B H M", (torch.float32,))
    if dtype not in FLOATS:
        raise ValueError(f"{OP}: expected dtype float16, bfloat16 or float32, got {dtype}")
    require_fp8(OP, q8)


def launch(operands: Operands, bias: Tensor | None, out: Tensor, chosen: Tile) -> None:
    """Fills `out` as the op has it, from tensors that it has checked."""
    q8, _, k8, _, v8, _ = operands
    batches, queries, heads, width = q8.shape
    blocks = triton.cdiv(queries, chosen.blocks["BLOCK_QUERIES"])
    occlusion_attention_fp8_kernel[blocks, heads, batches](
        *operands,
        bias,
        out,
        *(stride for tensor in (q8, k8, v8) for stride in tensor.stride()[:3]),
        *((0, 0) if bias is None else bias.stride()[:2]),
        queries,
        k8.shape[1],
        HEAD_WIDTH=width,
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Both head widths, with the bias and without, on chips that have FP8."""
    if not has_fp8(capability):
        return
    axes = ("q_batch", "q_token", "q_head", "k_batch", "k_token", "k_head", "v_batch", "v_head", "v_channel")
    aligned = {f"{axis}_stride": "i64" if axis.endswith("batch") else "i32" for axis in axes}
    # Rows of the bias are as long as there are keys, of any number.
    others = {"bias_batch_stride": "i64", "bias_head_stride": "i32", "queries": "i32", "keys": "i32"}
    for dtype, head_width, biased in product(("bf16", "fp16"), HEAD_WIDTHS, (True, False)):
        given, absent = pointers(
            q_ptr="fp8e4nv",
            q_scale_ptr="fp32",
            k_ptr="fp8e4nv",
            k_scale_ptr="fp32",
            v_ptr="fp8e4nv",
            v_scale_ptr="fp32",
            bias_ptr="fp32" if biased else None,
            out_ptr=dtype,
        )
        chosen = tile(OP, capability, width=head_width)
        yield Variant(
            name="-".join([OP, dtype, f"d{head_width}"] + ["bias"] * biased),
            kernel=occlusion_attention_fp8_kernel,
            arguments=given | aligned | others,
            constants=absent | {"HEAD_WIDTH": head_width} | dict(chosen.blocks),
            aligned=tuple(aligned),
            tile=chosen,
        )
