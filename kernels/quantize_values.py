"""Values of FP8 attention: E4M3 with one scale for 128 keys of a head, and transposed, so that keys are contiguous.

Hopper multiplies E4M3 only where the axis that is summed over is contiguous in both factors; for weights x values that
axis is the keys. A program holds 128 keys of one head, which are read once and written once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.attention_blocks import HEAD_WIDTHS
from clear_rt.kernels.chips import capability_of, has_fp8, require_fp8
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.fp8_blocks import BLOCK_TOKENS, block_scale, blocks_of, quantized_ref
from clear_rt.kernels.narrow import narrow
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.models.fp8 import E4M3

OP = "quantize_values"


def quantize_values_ref(v: Tensor) -> tuple[Tensor, Tensor]:
    """`quantized_ref` in the other layout, filled up with zeros."""
    values, scale = quantized_ref(v)
    padding = BLOCK_TOKENS * scale.shape[-1] - v.shape[1]
    # torch pads no E4M3, whose zero is a byte of 0.
    padded = functional.pad(values.view(torch.uint8), (0, 0, 0, 0, 0, padding)).view(E4M3)
    return padded.permute(0, 2, 3, 1).contiguous(), scale


@triton.jit(do_not_specialize=["keys"])
def quantize_values_kernel(
    v_ptr,
    out_ptr,
    scale_ptr,
    v_batch_stride,
    v_token_stride,
    v_head_stride,
    keys,
    HEAD_WIDTH: tl.constexpr,
    KEYS: tl.constexpr,
):
    block, head, batch = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    blocks, row = tl.num_programs(0), batch * tl.num_programs(1) + head
    key, channel = block * KEYS + tl.arange(0, KEYS), tl.arange(0, HEAD_WIDTH)
    v_ptr += batch * v_batch_stride + head * v_head_stride
    places = key.to(tl.int64)[:, None] * v_token_stride + channel[None, :]
    v = tl.load(v_ptr + places, mask=key[:, None] < keys, other=0.0).to(tl.float32)
    scale = block_scale(tl.max(tl.abs(v)))
    tl.store(scale_ptr + row * blocks + block, scale)
    out_ptr += (row * HEAD_WIDTH + channel[:, None]) * (blocks * KEYS) + key[None, :]
    tl.store(out_ptr, tl.trans(narrow(v * (1.0 / scale), out_ptr.dtype.element_ty)))


@torch.library.custom_op("clear_rt::quantize_values", mutates_args=())
def quantize_values(v: Tensor) -> tuple[Tensor, Tensor]:
    """v [B, N, H, D] of any float, D 64 or 128 -> E4M3 [B, H, D, P] and its scales fp32 [B, H, P / 128].

    P is N rounded up to 128; columns from N on are 0. Any stride of v serves but the innermost.

    Raises:
        ValueError: other shapes or dtypes, or gaps within a head.
        EngineError: no GPU, or one that has no FP8.
    """
    contract = Contract(OP)
    contract.tensor("v", v, "B N H D")
    if contract.sizes["D"] not in HEAD_WIDTHS:
        raise ValueError(f"{OP}: expected heads of 64 or 128 channels, got {contract.sizes['D']}")
    require_fp8(OP, v)
    chosen = tile(OP, capability_of(v))
    out, scale = _quantize_values_fake(v)
    if out.numel():
        batches, tokens, heads, width = v.shape
        quantize_values_kernel[scale.shape[-1], heads, batches](
            v,
            out,
            scale,
            *v.stride()[:3],
            tokens,
            HEAD_WIDTH=width,
            KEYS=BLOCK_TOKENS,
            num_warps=chosen.warps,
            num_stages=chosen.stages,
        )
    return out, scale


@quantize_values.register_fake
def _quantize_values_fake(v: Tensor) -> tuple[Tensor, Tensor]:
    batches, tokens, heads, width = v.shape
    blocks = blocks_of(tokens)
    out = v.new_empty((batches, heads, width, BLOCK_TOKENS * blocks), dtype=E4M3)
    return out, v.new_empty((batches, heads, blocks), dtype=torch.float32)


def variants(capability: int) -> Iterator[Variant]:
    """Both head widths, on chips that have FP8."""
    if not has_fp8(capability):
        return
    for dtype, head_width in product(("bf16", "fp16"), HEAD_WIDTHS):
        given, _ = pointers(v_ptr=dtype, out_ptr="fp8e4nv", scale_ptr="fp32")
        strides = {"v_batch_stride": "i64", "v_token_stride": "i32", "v_head_stride": "i32"}
        yield Variant(
            name=f"{OP}-{dtype}-d{head_width}",
            kernel=quantize_values_kernel,
            arguments=given | strides | {"keys": "i32"},
            constants={"HEAD_WIDTH": head_width, "KEYS": BLOCK_TOKENS},
            aligned=tuple(strides),
            tile=tile(OP, capability),
        )
