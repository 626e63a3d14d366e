"""Generated RGB into the planes of a picture, under a feathered matte: what it does not cover is never written.

    content = matrix . (R, G, B, 1)               of the mean colour of the pixels that share a sample
    content += filled(source - content)           mode membrane: by pull_push, unknown where alpha >= HOLE_ALPHA
    sample = round(source + (content - source) * alpha / 255)

Chroma has the largest alpha of its pixels and of the samples around it, as filters reach that far. In mode membrane
samples of less alpha than HOLE_ALPHA stay: they are what the content is moved to meet. Mode off writes the whole box.

As `clear_rt.composite.paste`, but in place: luma is one launch, both chroma planes are another, and in mode membrane
each comes after one that writes the field and those of `pull_push`. A program takes a stretch of samples in the order
they lie in the box.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import product

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.composite import HOLE_ALPHA
from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.contract import FLOATS, Contract
from clear_rt.kernels.planes import Steps, check_planes, numbers, values_ref, within
from clear_rt.kernels.pull_push import pull_push, pull_push_ref
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers
from clear_rt.shapes import Box, Size, plane_box

OP = "composite"
MODES = ("membrane", "paste", "off")
# Sizes and strides differ from caption to caption: specialised, each would compile anew in the middle of a stream.
SCALARS = (
    "x_px",
    "y_px",
    "height_px",
    "width_px",
    "generated_channel_stride",
    "generated_row_stride",
    "alpha_row_stride",
    "plane_row_stride",
    "plane_column_stride",
    "shift",
    "largest",
)
_HOLE_ALPHA = tl.constexpr(HOLE_ALPHA)
# Adding and taking it away leaves a float below 2**22 rounded to an integer, to even where it is a tie.
_ROUNDING = tl.constexpr(1.5 * 2**23)


def composite_ref(
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    generated: Tensor,
    alpha: Tensor,
    matrix: Tensor,
    x_px: int,
    y_px: int,
    bits: int,
    shift: int,
    mode: str,
) -> tuple[Tensor, Tensor, Tensor]:
    """The planes as they become, computed in the dtype of `matrix`."""
    steps = check_planes(Contract(OP), luma, cb, cr)
    box = Box(x_px, y_px, alpha.shape[1], alpha.shape[0])
    rgb = generated.to(matrix.dtype).clamp(-1, 1)
    done = []
    for i, plane in enumerate((luma, cb, cr)):
        across, down = steps if i else (1, 1)
        inner = plane_box(box, across, down)
        rows = (torch.arange(inner.y_px * down, inner.bottom_px * down, device=luma.device) - y_px).clamp(
            0, box.height_px - 1
        )
        columns = (torch.arange(inner.x_px * across, inner.right_px * across, device=luma.device) - x_px).clamp(
            0, box.width_px - 1
        )
        cells = rgb[:, rows[:, None], columns].unflatten(2, (-1, across)).unflatten(1, (-1, down)).mean((2, 4))
        content = torch.einsum("c,cyx->yx", matrix[i, :3], cells) + matrix[i, 3]
        share = _alpha_ref(alpha.to(matrix.dtype), box, inner, across, down, spread=i > 0)
        source = values_ref(plane[inner.slices], matrix.dtype) / 2**shift
        if mode == "membrane":
            hole = share >= HOLE_ALPHA
            field = torch.where(hole, torch.nan, source - content)
            content = torch.where(hole, content + pull_push_ref(field[None])[0], source)
        mixed = content if mode == "off" else source + (content - source) * share / 255
        stored = mixed.nan_to_num(nan=0.0).round().clamp(0, 2**bits - 1).to(torch.int32) << shift
        kept = mixed.isnan() if mode == "off" else mixed.isnan() | (share == 0)
        done.append(plane.clone())
        done[i][inner.slices] = torch.where(kept, plane[inner.slices], stored.to(plane.dtype))
    return done[0], done[1], done[2]


def _alpha_ref(alpha: Tensor, box: Box, inner: Box, across: int, down: int, *, spread: bool) -> Tensor:
    top, left = box.y_px - inner.y_px * down, box.x_px - inner.x_px * across
    bottom, right = inner.height_px * down - box.height_px - top, inner.width_px * across - box.width_px - left
    cells = functional.max_pool2d(functional.pad(alpha, (left, right, top, bottom))[None], (down, across))
    return (functional.max_pool2d(cells, 3, 1, 1) if spread else cells)[0]


@triton.jit
def _largest_alpha(
    alpha_ptr, y, x, height, width, row_stride, STEP_X: tl.constexpr, STEP_Y: tl.constexpr, SPREAD: tl.constexpr
):
    """Of the pixels of the box that share the sample from (y, x) on, and of those of SPREAD samples around it."""
    largest = tl.zeros(y.shape, tl.int32)
    for i in tl.static_range(-SPREAD * STEP_Y, STEP_Y + SPREAD * STEP_Y):
        for j in tl.static_range(-SPREAD * STEP_X, STEP_X + SPREAD * STEP_X):
            inside = (y + i >= 0) & (y + i < height) & (x + j >= 0) & (x + j < width)
            alpha = tl.load(alpha_ptr + (y + i).to(tl.int64) * row_stride + x + j, mask=inside, other=0)
            largest = tl.maximum(largest, alpha.to(tl.int32))
    return largest


@triton.jit
def _mean_colour(
    generated_ptr, y, x, height, width, channel_stride, row_stride, STEP_X: tl.constexpr, STEP_Y: tl.constexpr
):
    """R, G, B of the pixels that share the sample from (y, x) on; for those outside the box the nearest ones inside."""
    channel = tl.full((), 1, tl.int64) * channel_stride
    red, green, blue = tl.zeros(y.shape, tl.float32), tl.zeros(y.shape, tl.float32), tl.zeros(y.shape, tl.float32)
    for i in tl.static_range(STEP_Y):
        for j in tl.static_range(STEP_X):
            here = generated_ptr + within(y + i, height).to(tl.int64) * row_stride + within(x + j, width)
            red += _clamped(tl.load(here))
            green += _clamped(tl.load(here + channel))
            blue += _clamped(tl.load(here + 2 * channel))
    share: tl.constexpr = 1 / (STEP_X * STEP_Y)
    return red * share, green * share, blue * share


@triton.jit
def _clamped(colour):
    """In -1..1; NaN stays."""
    colour = colour.to(tl.float32)
    return tl.where(colour == colour, tl.minimum(tl.maximum(colour, -1.0), 1.0), colour)


@triton.jit(do_not_specialize=SCALARS)
def composite_kernel(
    first_ptr,
    second_ptr,
    generated_ptr,
    alpha_ptr,
    matrix_ptr,
    field_ptr,
    x_px,
    y_px,
    height_px,
    width_px,
    generated_channel_stride,
    generated_row_stride,
    alpha_row_stride,
    plane_row_stride,
    plane_column_stride,
    shift,
    largest,
    STEP_X: tl.constexpr,
    STEP_Y: tl.constexpr,
    SPREAD: tl.constexpr,
    TO_FIELD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    top, left = y_px // STEP_Y, x_px // STEP_X
    height, width = tl.cdiv(y_px + height_px, STEP_Y) - top, tl.cdiv(x_px + width_px, STEP_X) - left
    samples = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = samples < height * width
    row, column = top + samples // width, left + samples % width
    y, x = row * STEP_Y - y_px, column * STEP_X - x_px
    alpha = tl.full((BLOCK,), 255, tl.int32)
    if alpha_ptr is not None:
        alpha = _largest_alpha(alpha_ptr, y, x, height_px, width_px, alpha_row_stride, STEP_X, STEP_Y, SPREAD)
    red, green, blue = _mean_colour(
        generated_ptr, y, x, height_px, width_px, generated_channel_stride, generated_row_stride, STEP_X, STEP_Y
    )
    for i in tl.static_range(1 if second_ptr is None else 2):
        content = tl.load(matrix_ptr + 4 * i) * red + tl.load(matrix_ptr + 4 * i + 1) * green
        content += tl.load(matrix_ptr + 4 * i + 2) * blue + tl.load(matrix_ptr + 4 * i + 3)
        place = (
            (first_ptr if i == 0 else second_ptr) + row.to(tl.int64) * plane_row_stride + column * plane_column_stride
        )
        if TO_FIELD:
            source = (numbers(tl.load(place, mask=inside)) >> shift).to(tl.float32)
            field = tl.where(alpha < _HOLE_ALPHA, source - content, float("nan"))
            tl.store(field_ptr + i * height * width + samples, field, mask=inside)
        else:
            touched = inside & (alpha > 0)
            if field_ptr is not None:
                touched = inside & (alpha >= _HOLE_ALPHA)
                content += tl.load(field_ptr + i * height * width + samples, mask=touched)
            if alpha_ptr is not None:
                source = (numbers(tl.load(place, mask=touched)) >> shift).to(tl.float32)
                content = source + (content - source) * (alpha.to(tl.float32) * (1 / 255))
            rounded = tl.minimum(tl.maximum(content, 0.0), largest.to(tl.float32)) + _ROUNDING - _ROUNDING
            sample = (rounded.to(tl.int32) << shift).to(first_ptr.dtype.element_ty)
            tl.store(place, sample, mask=touched & (content == content))


@torch.library.custom_op("clear_rt::composite", mutates_args=("luma", "cb", "cr"))
def composite(
    luma: Tensor,
    cb: Tensor,
    cr: Tensor,
    generated: Tensor,
    alpha: Tensor,
    matrix: Tensor,
    x_px: int,
    y_px: int,
    bits: int,
    shift: int,
    mode: str,
) -> None:
    """Writes generated [3, h, w] of any float, -1..1, into the planes of a picture (`planes`), from (y_px, x_px) on.

    alpha uint8 [h, w]; matrix fp32 [3, 4] is `colour.output_matrix` of `bits`, which samples hold above `shift` zeros.
    Samples of alpha 0 keep every bit, and so do those whose content is NaN, which a caller should have refused.

    Raises ValueError for other shapes, dtypes or modes, or a box that is not inside the picture, EngineError where
    there is no GPU.
    """
    contract = Contract(OP)
    steps = check_planes(contract, luma, cb, cr)
    contract.tensor("generated", generated, "3 rows columns", FLOATS)
    contract.tensor("alpha", alpha, "rows columns", (torch.uint8,))
    contract.tensor("matrix", matrix, "3 4", (torch.float32,), dense_axes=2)
    box, picture = Box(x_px, y_px, alpha.shape[1], alpha.shape[0]), Size(luma.shape[1], luma.shape[0])
    if box.clipped(picture) != box:
        raise ValueError(f"{OP}: expected a box inside the picture of {picture}, got {box}")
    if not 8 <= bits <= bits + shift <= 8 * luma.itemsize:
        raise ValueError(f"{OP}: expected 8 bits or more and a shift that fit {luma.dtype}, got {bits} and {shift}")
    if mode not in MODES:
        raise ValueError(f"{OP}: expected mode {', '.join(MODES)}, got {mode}")
    for planes, rows, scale in (((luma,), matrix, Steps(1, 1)), ((cb, cr), matrix[1:], steps)):
        launch = partial(_launch, planes, generated, rows, box, scale, bits, shift)
        if mode == "membrane":
            inner = plane_box(box, *scale)
            field = matrix.new_empty((len(planes), inner.height_px, inner.width_px))
            launch(alpha, field, to_field=True)
            launch(alpha, pull_push(field))
        else:
            launch(None if mode == "off" else alpha, None)


@composite.register_fake
def _composite_fake(*_: object) -> None:
    return None


def _launch(
    planes: Sequence[Tensor],
    generated: Tensor,
    matrix: Tensor,
    box: Box,
    steps: Steps,
    bits: int,
    shift: int,
    alpha: Tensor | None,
    field: Tensor | None,
    *,
    to_field: bool = False,
) -> None:
    chosen = tile(OP, capability_of(matrix))
    inner = plane_box(box, *steps)
    composite_kernel[(triton.cdiv(inner.width_px * inner.height_px, chosen.blocks["BLOCK"]),)](
        planes[0],
        planes[1] if len(planes) > 1 else None,
        generated,
        alpha,
        matrix,
        field,
        box.x_px,
        box.y_px,
        box.height_px,
        box.width_px,
        generated.stride(0),
        generated.stride(1),
        0 if alpha is None else alpha.stride(0),
        *planes[0].stride(),
        shift,
        2**bits - 1,
        STEP_X=steps.x_px,
        STEP_Y=steps.y_px,
        SPREAD=len(planes) - 1,
        TO_FIELD=to_field,
        **chosen.blocks,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )


def variants(capability: int) -> Iterator[Variant]:
    """Mode membrane in 4:2:0, of fp32 or bf16: the field and the result of luma and of both chroma planes."""
    chosen = tile(OP, capability)
    for samples, dtype, is_chroma, to_field in product(("u8", "u16"), ("bf16", "fp32"), (False, True), (False, True)):
        given, absent = pointers(
            first_ptr=samples,
            second_ptr=samples if is_chroma else None,
            generated_ptr=dtype,
            alpha_ptr="u8",
            matrix_ptr="fp32",
            field_ptr="fp32",
        )
        step = 2 if is_chroma else 1
        yield Variant(
            name="-".join((OP, samples, dtype, "chroma" if is_chroma else "luma")) + "-field" * to_field,
            kernel=composite_kernel,
            arguments=given | dict.fromkeys(SCALARS, "i32") | {"generated_channel_stride": "i64"},
            constants={
                **absent,
                **chosen.blocks,
                "STEP_X": step,
                "STEP_Y": step,
                "SPREAD": int(is_chroma),
                "TO_FIELD": to_field,
            },
            # Cr of interleaved chroma begins one sample after Cb; packed planes and parts of crops begin anywhere.
            unaligned=("first_ptr", "second_ptr", "generated_ptr", "alpha_ptr"),
            tile=chosen,
        )
