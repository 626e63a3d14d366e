"""`occlusion_attention` with a bias as a TensorRT plugin calls it: pointers in, int32 sizes, one pointer out.

Such a plugin passes nothing else: no strides, no memory for scratch, no tensor descriptors (anchors.md 7). Tensors are
dense, so that strides follow from sizes; heads and batches are those of the grid, (blocks of queries, heads, batches).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.attention_blocks import HEAD_WIDTHS, OF_ANY_VALUE
from clear_rt.kernels.occlusion_attention import OP, occlusion_attention_kernel
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers

HALVES = ("fp16", "bf16")


@triton.jit(do_not_specialize=OF_ANY_VALUE)
def occlusion_attention_plugin_kernel(
    q_ptr,
    k_ptr,
    v_ptr,
    bias_ptr,
    queries,
    keys,
    out_ptr,
    HEAD_WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_TAIL: tl.constexpr,
):
    heads = tl.num_programs(1)
    token_stride = heads * HEAD_WIDTH
    q_batch_stride = tl.cast(token_stride, tl.int64) * queries
    k_batch_stride = tl.cast(token_stride, tl.int64) * keys
    occlusion_attention_kernel(
        q_ptr,
        k_ptr,
        v_ptr,
        bias_ptr,
        out_ptr,
        None,
        q_batch_stride,
        token_stride,
        HEAD_WIDTH,
        k_batch_stride,
        token_stride,
        HEAD_WIDTH,
        k_batch_stride,
        token_stride,
        HEAD_WIDTH,
        tl.cast(heads, tl.int64) * keys,
        keys,
        queries,
        keys,
        HEAD_WIDTH,
        BLOCK_QUERIES,
        BLOCK_KEYS,
        BLOCK_TAIL,
    )


def launch(q: Tensor, k: Tensor, v: Tensor, bias: Tensor, out: Tensor, capability: int) -> None:
    """Fills `out` as `occlusion_attention` has it, from dense tensors: what a plugin does, for tests and benchmarks."""
    chosen = tile(OP, capability)
    batches, queries, heads, width = q.shape
    blocks = triton.cdiv(queries, chosen.blocks["BLOCK_QUERIES"])
    occlusion_attention_plugin_kernel[blocks, heads, batches](
        q,
        k,
        v,
        bias,
        queries,
        k.shape[1],
        out,
        HEAD_WIDTH=width,
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


def variant(capability: int, dtype: str, head_width: int) -> Variant:
    """Of one dtype of `HALVES` and one of `HEAD_WIDTHS`, with the tile of `occlusion_attention`."""
    chosen = tile(OP, capability)
    inputs, _ = pointers(q_ptr=dtype, k_ptr=dtype, v_ptr=dtype, bias_ptr="fp32")
    output, _ = pointers(out_ptr=dtype)
    return Variant(
        name=f"occlusion_attention_plugin-{dtype}-d{head_width}",
        kernel=occlusion_attention_plugin_kernel,
        arguments=inputs | {"queries": "i32", "keys": "i32"} | output,
        constants={"HEAD_WIDTH": head_width} | dict(chosen.blocks),
        # Rows of the bias are as long as there are keys, of any number.
        unaligned=("bias_ptr",),
        tile=chosen,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Both halves and both head widths."""
    for dtype, head_width in product(HALVES, HEAD_WIDTHS):
        yield variant(capability, dtype, head_width)
