"""Occlusion-weighted attention for GPUs with tensor memory access: sm_90 and sm_100.

Through a tensor descriptor one thread fetches a whole block. There is a program for every multiprocessor, which makes
its descriptors once and takes every so many-th block of queries. Rows of all that is fetched so, the bias included,
begin at multiples of 16 bytes. (By pointers Triton 3.6 has every thread fetch all biases that its logits need, 32 times
as many loads.)

Descriptors are made on the device. The kernel then takes pointers and integers, and whoever launches its cubin adds no
more than scratch memory, 128 bytes for each of a program's four descriptors; the driver would have to encode those of
the host for every call. The price is some microseconds of a program that runs for milliseconds.

Warp specialisation is a choice of the tile. With 8 warps Triton 3.6 and 3.8 compile it for sm_100 and ignore it for
sm_90, where they fail with 4. On sm_120 heads of 128 channels would spill.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextvars import copy_context
from functools import cache

import torch
import triton
import triton.language as tl
from torch import Tensor

from clear_rt.kernels.attention_blocks import (
    LOWEST,
    OF_ANY_VALUE,
    attend_block,
    attend_tail,
    attention_variants,
    operands,
    store_attention,
)
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant

OP = "occlusion_attention_hopper"
# From sm_90 to before sm_120.
CAPABILITIES = range(90, 120)


@triton.jit
def _descriptor(
    ptr,
    batches,
    heads,
    tokens,
    batch_stride,
    token_stride,
    head_stride,
    HEAD_WIDTH: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Of blocks of tokens of one head."""
    return tl.make_tensor_descriptor(
        ptr,
        shape=[batches, heads, tokens, HEAD_WIDTH],
        strides=[batch_stride, head_stride, token_stride, 1],
        block_shape=[1, 1, BLOCK, HEAD_WIDTH],
    )


@triton.jit(do_not_specialize=OF_ANY_VALUE)
def occlusion_attention_hopper_kernel(
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
    batches,
    heads,
    queries,
    keys,
    HEAD_WIDTH: tl.constexpr,
    BLOCK_QUERIES: tl.constexpr,
    BLOCK_KEYS: tl.constexpr,
    BLOCK_TAIL: tl.constexpr,
    WARP_SPECIALIZE: tl.constexpr,
):
    q_blocks = _descriptor(
        q_ptr, batches, heads, queries, q_batch_stride, q_token_stride, q_head_stride, HEAD_WIDTH, BLOCK_QUERIES
    )
    k_blocks = _descriptor(
        k_ptr, batches, heads, keys, k_batch_stride, k_token_stride, k_head_stride, HEAD_WIDTH, BLOCK_KEYS
    )
    v_blocks = _descriptor(
        v_ptr, batches, heads, keys, v_batch_stride, v_token_stride, v_head_stride, HEAD_WIDTH, BLOCK_KEYS
    )
    if bias_ptr is not None:
        bias_blocks = tl.make_tensor_descriptor(
            bias_ptr,
            shape=[batches, heads, keys],
            strides=[bias_batch_stride, bias_head_stride, 1],
            block_shape=[1, 1, BLOCK_KEYS],
        )
    blocks = tl.cdiv(queries, BLOCK_QUERIES)
    full = keys // BLOCK_KEYS * BLOCK_KEYS
    # Blocks of one head follow each other, so that programs share its keys in the L2 cache.
    for work in tl.range(tl.program_id(0), batches * heads * blocks, tl.num_programs(0)):
        first = work % blocks * BLOCK_QUERIES
        head = work // blocks % heads
        batch = work // blocks // heads
        q = q_blocks.load([batch, head, first, 0]).reshape(BLOCK_QUERIES, HEAD_WIDTH)
        head64, batch64 = tl.cast(head, tl.int64), tl.cast(batch, tl.int64)
        k_head = k_ptr + batch64 * k_batch_stride + head64 * k_head_stride
        v_head = v_ptr + batch64 * v_batch_stride + head64 * v_head_stride
        bias_row = None if bias_ptr is None else bias_ptr + batch64 * bias_batch_stride + head64 * bias_head_stride
        acc = tl.zeros([BLOCK_QUERIES, HEAD_WIDTH], tl.float32)
        row_sum = tl.zeros([BLOCK_QUERIES], tl.float32)
        row_max = tl.full([BLOCK_QUERIES], LOWEST, tl.float32)
        for start in tl.range(0, full, BLOCK_KEYS, warp_specialize=WARP_SPECIALIZE):
            k = k_blocks.load([batch, head, start, 0]).reshape(BLOCK_KEYS, HEAD_WIDTH)
            v = v_blocks.load([batch, head, start, 0]).reshape(BLOCK_KEYS, HEAD_WIDTH)
            bias = None if bias_ptr is None else bias_blocks.load([batch, head, start]).reshape(BLOCK_KEYS)
            acc, row_sum, row_max = attend_block(q, k, v, bias, acc, row_sum, row_max)
        acc, row_sum, row_max = attend_tail(
            q,
            k_head,
            k_token_stride,
            v_head,
            v_token_stride,
            bias_row,
            full,
            keys,
            acc,
            row_sum,
            row_max,
            HEAD_WIDTH,
            BLOCK_TAIL,
        )
        rows = first + tl.arange(0, BLOCK_QUERIES)
        store_attention(out_ptr, lse_ptr, batch64, head64, heads, rows, queries, acc, row_sum, row_max, HEAD_WIDTH)


def suits(q: Tensor, k: Tensor, v: Tensor, capability: int) -> bool:
    """Whether to `launch` this: on a chip it is for, with a full block of keys, and with strides for descriptors."""
    return (
        capability in CAPABILITIES
        and k.shape[1] >= tile(OP, capability).blocks["BLOCK_KEYS"]
        and all(map(_fits_descriptor, (q, k, v)))
    )


def _fits_descriptor(tensor: Tensor) -> bool:
    """Descriptors want the address and the strides of rows in steps of 16 bytes, and no row twice."""
    steps = [stride * tensor.element_size() for stride in tensor.stride()[:-1]]
    return min(steps) > 0 and not any(step % 16 for step in (tensor.data_ptr(), *steps))


def _fitting_rows(bias: Tensor) -> Tensor:
    """The bias as it is, or a copy where descriptors do not take it: it is small beside k and v."""
    if _fits_descriptor(bias):
        return bias
    batches, heads, keys = bias.shape
    return bias.new_empty(batches, heads, keys + -keys % 4)[..., :keys].copy_(bias)


def launch(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    bias: Tensor | None,
    out: Tensor,
    lse: Tensor | None,
    capability: int,
    programs: int | None = None,
) -> None:
    """Fills `out` and `lse` as `occlusion_attention` has them, from tensors that it has checked.

    Programs are as many as the GPU has multiprocessors if not said otherwise.
    """
    batches, queries, heads, width = q.shape
    chosen = tile(OP, capability)
    if bias is not None:
        bias = _fitting_rows(bias)

    def start() -> None:
        triton.set_allocator(lambda size, alignment, stream: torch.empty(size, dtype=torch.int8, device=q.device))
        occlusion_attention_hopper_kernel[(programs or _multiprocessors(q.device),)](
            *operands(q, k, v, bias, out, lse),
            batches,
            heads,
            queries,
            k.shape[1],
            HEAD_WIDTH=width,
            **chosen.blocks,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )

    # Triton keeps its allocator in the context: in a copy, so that the caller's stays.
    copy_context().run(start)


@cache
def _multiprocessors(device: torch.device) -> int:
    count: int = torch.cuda.get_device_properties(device).multi_processor_count
    return count


def variants(capability: int) -> Iterator[Variant]:
    """Those that `occlusion_attention` has for all chips."""
    if capability in CAPABILITIES:
        sizes = ("batches", "heads", "queries", "keys")
        yield from attention_variants(OP, occlusion_attention_hopper_kernel, capability, sizes)
