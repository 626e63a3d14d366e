"""Attention over keys as they come, block by block: what both kernels of `occlusion_attention` share.

For its queries a program keeps, in fp32, the largest logit so far, the sum of the weights relative to it and the
weighted sum of the values. A block with a larger logit scales both sums down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any

import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.chips import INTERPRETED
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers

HEAD_WIDTHS = (64, 128)
# Their value is of no use to the compiler: one compilation serves every length, as those ahead of time do.
OF_ANY_VALUE = ["bias_batch_stride", "bias_head_stride", "batches", "heads", "queries", "keys"]
# The largest logit before any: finite, so that -inf less it is -inf and not NaN. Logits below it count as -inf.
LOWEST = tl.constexpr(-1e38)

_LOG2E = tl.constexpr(1.4426950408889634)
_LN2 = tl.constexpr(0.6931471805599453)
_UPCAST = tl.constexpr(INTERPRETED)


@triton.jit
def load_tokens(ptr, token_stride, rows, tokens, HEAD_WIDTH: tl.constexpr):
    """Tokens `rows` of one head, [rows, HEAD_WIDTH]: 0 from `tokens` on; without a mask where that is None."""
    block = ptr + rows.to(tl.int64)[:, None] * token_stride + tl.arange(0, HEAD_WIDTH)[None, :]
    return tl.load(block) if tokens is None else tl.load(block, mask=rows[:, None] < tokens, other=0.0)


@triton.jit
def load_bias(bias_ptr, columns, keys):
    """Bias of the keys `columns`: -inf from `keys` on; without a mask where that is None. None where none is needed."""
    if bias_ptr is None:
        bias = None if keys is None else tl.where(columns < keys, 0.0, -float("inf"))
    elif keys is None:
        bias = tl.load(bias_ptr + columns)
    else:
        bias = tl.load(bias_ptr + columns, mask=columns < keys, other=-float("inf"))
    return bias


@triton.jit
def attend_block(q, k, v, bias, acc, row_sum, row_max):
    """Adds a block of keys, k and v [KEYS, HEAD_WIDTH] and bias [KEYS] or None, to what queries have seen."""
    scale: tl.constexpr = q.shape[1] ** -0.5
    logits = _dot(q, tl.trans(k), None)
    # GPUs have exp2. The way to base 2 is fused with the subtraction; without a bias it takes the scale along.
    to_base_2: tl.constexpr = _LOG2E * (scale if bias is None else 1.0)
    if bias is not None:
        logits = logits * scale + bias[None, :]
    before = row_max
    row_max = tl.maximum(before, tl.max(logits, 1) * to_base_2)
    weights = tl.exp2(logits * to_base_2 - row_max[:, None])
    kept = tl.exp2(before - row_max)
    row_sum = row_sum * kept + tl.sum(weights, 1)
    acc = _dot(narrow(weights, v.dtype), v, acc * kept[:, None])
    return acc, row_sum, row_max


@triton.jit
def attend_tail(
    q,
    k_ptr,
    k_token_stride,
    v_ptr,
    v_token_stride,
    bias_ptr,
    first,
    keys,
    acc,
    row_sum,
    row_max,
    HEAD_WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Adds the keys from `first` on, which fill no large block, in small ones: a large one would spill registers."""
    for start in tl.range(first, keys, BLOCK, num_stages=1):
        columns = start + tl.arange(0, BLOCK)
        k = load_tokens(k_ptr, k_token_stride, columns, keys, HEAD_WIDTH)
        v = load_tokens(v_ptr, v_token_stride, columns, keys, HEAD_WIDTH)
        bias = load_bias(bias_ptr, columns, keys)
        acc, row_sum, row_max = attend_block(q, k, v, bias, acc, row_sum, row_max)
    return acc, row_sum, row_max


@triton.jit
def store_attention(
    out_ptr, lse_ptr, batch, head, heads, rows, queries, acc, row_sum, row_max, HEAD_WIDTH: tl.constexpr
):
    """Writes the queries `rows` of one head, `batch` and `head` in int64; 0 and -inf for one that saw no key."""
    inside = rows < queries
    attention = acc * (1.0 / tl.where(row_sum == 0.0, 1.0, row_sum))[:, None]
    places = ((batch * queries + rows) * heads + head)[:, None] * HEAD_WIDTH + tl.arange(0, HEAD_WIDTH)[None, :]
    tl.store(out_ptr + places, narrow(attention, out_ptr.dtype.element_ty), mask=inside[:, None])
    if lse_ptr is not None:
        lse = (row_max + tl.log2(row_sum)) * _LN2
        tl.store(lse_ptr + (batch * heads + head) * queries + rows, lse, mask=inside)


@triton.jit
def _dot(a, b, add_to):
    """a @ b + add_to; the interpreter would multiply the bits of bfloat16."""
    if _UPCAST:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, add_to)


def operands(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, out: Tensor, lse: Tensor | None) -> tuple[Any, ...]:
    """The arguments that both kernels begin with: pointers, and the strides of what may have gaps."""
    strides = [stride for tensor in (q, k, v) for stride in tensor.stride()[:3]]
    bias_strides = (0, 0) if bias is None else bias.stride()[:2]
    return q, k, v, bias, out, lse, *strides, *bias_strides


def attention_variants(op: str, kernel: object, capability: int, sizes: Sequence[str]) -> Iterator[Variant]:
    """Of both head widths, with a bias and without; with the log-sum only bf16 with a bias, as groups of keys have.

    The kernel begins with `operands`, goes on with `sizes`, and takes the tile of its op.
    """
    for dtype, head_width in product(("bf16", "fp16"), HEAD_WIDTHS):
        yield _variant(op, kernel, capability, sizes, dtype, head_width, biased=True)
        yield _variant(op, kernel, capability, sizes, dtype, head_width, biased=False)
        if dtype == "bf16":
            yield _variant(op, kernel, capability, sizes, dtype, head_width, biased=True, with_lse=True)


def _variant(
    op: str,
    kernel: object,
    capability: int,
    sizes: Sequence[str],
    dtype: str,
    head_width: int,
    *,
    biased: bool,
    with_lse: bool = False,
) -> Variant:
    given, absent = pointers(
        q_ptr=dtype,
        k_ptr=dtype,
        v_ptr=dtype,
        bias_ptr="fp32" if biased else None,
        out_ptr=dtype,
        lse_ptr="fp32" if with_lse else None,
    )
    axes = {"batch_stride": "i64", "token_stride": "i32", "head_stride": "i32"}
    aligned = {f"{name}_{axis}": kind for name in "qkv" for axis, kind in axes.items()}
    # Rows of the bias are as long as there are keys, of any number.
    others = {"bias_batch_stride": "i64", "bias_head_stride": "i32"} | dict.fromkeys(sizes, "i32")
    chosen = tile(op, capability)
    return Variant(
        name="-".join([op, dtype, f"d{head_width}"] + ["bias"] * biased + ["lse"] * with_lse),
        kernel=kernel,
        arguments=given | aligned | others,
        constants=absent | {"HEAD_WIDTH": head_width} | dict(chosen.blocks),
        aligned=tuple(aligned),
        tile=chosen,
    )
