"""One level of the pyramid of `pull_push`: the steps to the next coarser one and back, each with its formula.

Fields are fp32 [C, H, W] without gaps, unknown cells of `known` NaN. The coarser level has ceil(H / 2) x ceil(W / 2)
cells. Beyond its edges a field is mirrored, so that nothing flows through them.

Errors of coarser levels are 0 at the sides of known cells. At their centres, half a cell outside the hole, they would
be too large: in a hole of 550 x 120 in 640 x 200 every correction then made the result worse by half.

A program takes a stretch of cells in the order they lie in. Relaxing is in place, one colour a launch: what it reads of
the other colour nobody writes meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional

from clear_rt.kernels.chips import capability_of
from clear_rt.kernels.planes import around
from clear_rt.kernels.tiles import tile
from clear_rt.kernels.variant import Variant, pointers

OP = "pull_push"
SWEEPS = 2
# One program relaxes the coarsest level. After a correction twice the sweeps change no error by more than 0.05 levels.
COARSEST_CELLS = 256
COARSEST_SWEEPS = 8
# Sizes are as many as levels: a compilation for those that are 1 or multiples of 16 would take longer than it saves.
SIZES = ["height", "width", "colour"]


def pull_ref(known: Tensor) -> Tensor:
    """The coarser level's known cells: in pairs across, then down, the means of what is known of their four."""
    even = _even(known, torch.nan)
    pairs = torch.stack((even[:, :, ::2], even[:, :, 1::2])).nanmean(0)
    return torch.stack((pairs[:, ::2], pairs[:, 1::2])).nanmean(0)


def pull_missing_ref(fine: Tensor, *, of_values: bool) -> Tensor:
    """What the coarser level's cells miss, sums of their four: `fine` is the same of its level, or its values."""
    missing = _neighbours_ref(fine) - 4 * fine if of_values else fine
    return 4 * functional.avg_pool2d(_even(missing, 0.0), 2)


def settle_ref(known: Tensor, missing: Tensor | None) -> Tensor:
    """The coarsest level's values, relaxed from the middle of the known range, or its error where some is `missing`."""
    if missing is not None:
        return _relaxed_ref(known, torch.zeros_like(known), missing, COARSEST_SWEEPS)
    lowest, highest = (known.nan_to_num(nan=limit) for limit in (torch.inf, -torch.inf))
    middle = (lowest.amin((1, 2), True) + highest.amax((1, 2), True)) / 2
    return _relaxed_ref(known, middle.nan_to_num(nan=0.0).expand_as(known), None, COARSEST_SWEEPS)


def push_ref(coarse: Tensor, known: Tensor, missing: Tensor | None = None, values: Tensor | None = None) -> Tensor:
    """A level's values from the coarser one's, its error where some is `missing`, or `values` with the error added."""
    doubled = functional.interpolate(coarse[None], [2 * n for n in coarse.shape[1:]], mode="bilinear")[0]
    pushed = doubled[:, : known.shape[1], : known.shape[2]]
    return _relaxed_ref(known, pushed if values is None else values + pushed, missing, SWEEPS)


def _even(field: Tensor, beyond: float) -> Tensor:
    return functional.pad(field, (0, field.shape[2] % 2, 0, field.shape[1] % 2), value=beyond)


def _neighbours_ref(values: Tensor) -> Tensor:
    padded = functional.pad(values[None], (1, 1, 1, 1), mode="replicate")[0]
    return padded[:, :-2, 1:-1] + padded[:, 2:, 1:-1] + padded[:, 1:-1, :-2] + padded[:, 1:-1, 2:]


def _relaxed_ref(known: Tensor, values: Tensor, missing: Tensor | None, sweeps: int) -> Tensor:
    """Errors are 0 at the sides of known cells, values theirs at their centres."""
    unknown = known.isnan()
    walls = torch.zeros_like(known) if missing is None else _neighbours_ref((~unknown).to(known.dtype))
    values = torch.where(unknown, values, known if missing is None else 0)
    rows, columns = (torch.arange(n, device=known.device) for n in known.shape[1:])
    black = (rows[:, None] + columns) % 2 == 1
    for colour in (~black, black) * sweeps:
        total = _neighbours_ref(values) + (0 if missing is None else missing)
        values = torch.where(unknown & colour, total / (4 + walls), values)
    return values


@triton.jit
def _steps(y, x, height, width):
    """How far a cell's neighbours lie from it in memory; at an edge they are the cell itself."""
    up, down = tl.where(y > 0, -width, 0), tl.where(y < height - 1, width, 0)
    return up, down, tl.where(x > 0, -1, 0), tl.where(x < width - 1, 1, 0)


@triton.jit
def _sum(here, up, down, left, right, mask):
    """Of the neighbours; where they are equal exactly 4 times one of them."""
    vertical = tl.load(here + up, mask=mask, other=0.0) + tl.load(here + down, mask=mask, other=0.0)
    return vertical + (tl.load(here + left, mask=mask, other=0.0) + tl.load(here + right, mask=mask, other=0.0))


@triton.jit
def _walls(here, up, down, left, right, mask):
    """How many neighbours are known."""
    a, b = tl.load(here + up, mask=mask, other=0.0), tl.load(here + down, mask=mask, other=0.0)
    c, d = tl.load(here + left, mask=mask, other=0.0), tl.load(here + right, mask=mask, other=0.0)
    return (a == a).to(tl.float32) + (b == b).to(tl.float32) + (c == c).to(tl.float32) + (d == d).to(tl.float32)


@triton.jit
def _mean(a, b):
    """The mean of two numbers, of which NaN does not count; of equal ones exactly that."""
    return tl.where(a == a, tl.where(b == b, a + 0.5 * (b - a), a), b)


@triton.jit(do_not_specialize=SIZES)
def pull_kernel(fine_ptr, coarse_ptr, height, width, BLOCK: tl.constexpr):
    channel, cells = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    coarse_width = tl.cdiv(width, 2)
    count = tl.cdiv(height, 2) * coarse_width
    inside = cells < count
    y, x = cells // coarse_width * 2, cells % coarse_width * 2
    here = fine_ptr + channel * height * width + y * width + x
    right, below = inside & (x < width - 1), inside & (y < height - 1)
    upper = _mean(tl.load(here, mask=inside), tl.load(here + 1, mask=right, other=float("nan")))
    here += width
    lower = tl.load(here, mask=below, other=float("nan"))
    lower = _mean(lower, tl.load(here + 1, mask=below & right, other=float("nan")))
    tl.store(coarse_ptr + channel * count + cells, _mean(upper, lower), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def pull_missing_kernel(fine_ptr, coarse_ptr, height, width, OF_VALUES: tl.constexpr, BLOCK: tl.constexpr):
    channel, cells = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    coarse_width = tl.cdiv(width, 2)
    count = tl.cdiv(height, 2) * coarse_width
    total = tl.zeros((BLOCK,), tl.float32)
    for i in tl.static_range(4):
        y, x = cells // coarse_width * 2 + i // 2, cells % coarse_width * 2 + i % 2
        inside = (cells < count) & (y < height) & (x < width)
        here = fine_ptr + channel * height * width + y * width + x
        missing = tl.load(here, mask=inside, other=0.0)
        if OF_VALUES:
            up, down, left, right = _steps(y, x, height, width)
            missing = _sum(here, up, down, left, right, inside) - 4.0 * missing
        total += missing
    tl.store(coarse_ptr + channel * count + cells, total, mask=cells < count)


@triton.jit(do_not_specialize=SIZES)
def settle_kernel(known_ptr, missing_ptr, values_ptr, height, width, SWEEPS: tl.constexpr, BLOCK: tl.constexpr):
    channel, cells = tl.program_id(0).to(tl.int64), tl.arange(0, BLOCK)
    y, x = cells // width, cells % width
    inside = y < height
    place = channel * height * width + cells
    known = tl.load(known_ptr + place, mask=inside, other=0.0)
    unknown = known != known
    up, down, left, right = _steps(y, x, height, width)
    missing, share = tl.zeros((BLOCK,), tl.float32), tl.full((BLOCK,), 0.25, tl.float32)
    if missing_ptr is None:
        counts = inside & (known == known)
        # Where nothing is known these are each other's negative, and the middle is 0.
        lowest, highest = tl.min(tl.where(counts, known, 1e38), 0), tl.max(tl.where(counts, known, -1e38), 0)
        values = tl.where(unknown, 0.5 * (lowest + highest), known)
    else:
        values = tl.zeros((BLOCK,), tl.float32)
        missing = tl.load(missing_ptr + place, mask=unknown, other=0.0)
        share = 1.0 / (4.0 + _walls(known_ptr + place, up, down, left, right, unknown))
    here = values_ptr + place
    tl.store(here, values, mask=inside)
    for half in range(2 * SWEEPS):
        tl.debug_barrier()
        turn = unknown & ((y + x + half) % 2 == 0)
        tl.store(here, (_sum(here, up, down, left, right, turn) + missing) * share, mask=turn)


@triton.jit(do_not_specialize=SIZES)
def push_kernel(coarse_ptr, known_ptr, values_ptr, out_ptr, height, width, IS_ERROR: tl.constexpr, BLOCK: tl.constexpr):
    channel, cells = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = cells < height * width
    coarse_width = tl.cdiv(width, 2)
    y, next_y = around(cells // width, height, 2)
    x, next_x = around(cells % width, width, 2)
    here = coarse_ptr + channel * tl.cdiv(height, 2) * coarse_width + y * coarse_width
    beside = here + (next_y - y) * coarse_width
    a, b = tl.load(here + x, mask=inside), tl.load(here + next_x, mask=inside)
    c, d = tl.load(beside + x, mask=inside), tl.load(beside + next_x, mask=inside)
    # In this form equal numbers stay what they are.
    upper, lower = a + 0.25 * (b - a), c + 0.25 * (d - c)
    pushed = upper + 0.25 * (lower - upper)
    place = channel * height * width + cells
    known = tl.load(known_ptr + place, mask=inside)
    if values_ptr is not None:
        pushed += tl.load(values_ptr + place, mask=inside)
    tl.store(out_ptr + place, tl.where(known == known, 0.0 if IS_ERROR else known, pushed), mask=inside)


@triton.jit(do_not_specialize=SIZES)
def relax_kernel(known_ptr, missing_ptr, values_ptr, height, width, colour, BLOCK: tl.constexpr):
    channel, cells = tl.program_id(1).to(tl.int64), tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    y, x = cells // width, cells % width
    place = channel * height * width + cells
    known = tl.load(known_ptr + place, mask=y < height, other=0.0)
    turn = (known != known) & ((y + x) % 2 == colour)
    up, down, left, right = _steps(y, x, height, width)
    total = _sum(values_ptr + place, up, down, left, right, turn)
    share = 0.25
    if missing_ptr is not None:
        total += tl.load(missing_ptr + place, mask=turn, other=0.0)
        share = 1.0 / (4.0 + _walls(known_ptr + place, up, down, left, right, turn))
    tl.store(values_ptr + place, total * share, mask=turn)


def pull(known: Tensor) -> Tensor:
    """As `pull_ref`."""
    coarse = _coarser(known)
    _launch(pull_kernel, coarse, (known, coarse), known)
    return coarse


def pull_missing(fine: Tensor, *, of_values: bool) -> Tensor:
    """As `pull_missing_ref`."""
    coarse = _coarser(fine)
    _launch(pull_missing_kernel, coarse, (fine, coarse), fine, OF_VALUES=of_values)
    return coarse


def settle(known: Tensor, missing: Tensor | None) -> Tensor:
    """As `settle_ref`, of no more than COARSEST_CELLS."""
    values = torch.empty_like(known)
    chosen = tile(OP, capability_of(known))
    settle_kernel[known.shape[:1]](
        known,
        missing,
        values,
        *known.shape[1:],
        SWEEPS=COARSEST_SWEEPS,
        BLOCK=COARSEST_CELLS,
        num_warps=chosen.warps,
        num_stages=chosen.stages,
    )
    return values


def push(coarse: Tensor, known: Tensor, missing: Tensor | None = None, values: Tensor | None = None) -> Tensor:
    """As `push_ref`."""
    out = torch.empty_like(known)
    _launch(push_kernel, out, (coarse, known, values, out), known, IS_ERROR=missing is not None)
    for colour in (0, 1) * SWEEPS:
        _launch(relax_kernel, out, (known, missing, out), known, colour=colour)
    return out


def _coarser(fine: Tensor) -> Tensor:
    channels, height, width = fine.shape
    return fine.new_empty((channels, triton.cdiv(height, 2), triton.cdiv(width, 2)))


def _launch(kernel, out: Tensor, tensors: tuple[Tensor | None, ...], sized: Tensor, **rest: object) -> None:
    chosen = tile(OP, capability_of(out))
    grid = (triton.cdiv(out[0].numel(), chosen.blocks["BLOCK"]), len(out))
    kernel[grid](*tensors, *sized.shape[1:], **rest, **chosen.blocks, num_warps=chosen.warps, num_stages=chosen.stages)


def variants(capability: int) -> Iterator[Variant]:
    """Every step: on the way to values, to the error of a level, and to the finest level's corrected values."""
    chosen = tile(OP, capability)
    settled = {"SWEEPS": COARSEST_SWEEPS, "BLOCK": COARSEST_CELLS}
    for name, kernel, absent, constants in (
        ("pull", pull_kernel, (), chosen.blocks),
        ("pull_missing", pull_missing_kernel, (), {"OF_VALUES": False, **chosen.blocks}),
        ("pull_missing-of_values", pull_missing_kernel, (), {"OF_VALUES": True, **chosen.blocks}),
        ("settle", settle_kernel, ("missing_ptr",), settled),
        ("settle-error", settle_kernel, (), settled),
        ("push", push_kernel, ("values_ptr",), {"IS_ERROR": False, **chosen.blocks}),
        ("push-error", push_kernel, ("values_ptr",), {"IS_ERROR": True, **chosen.blocks}),
        ("push-corrected", push_kernel, (), {"IS_ERROR": False, **chosen.blocks}),
        ("relax", relax_kernel, ("missing_ptr",), chosen.blocks),
        ("relax-error", relax_kernel, (), chosen.blocks),
    ):
        names = [parameter.name for parameter in kernel.params]
        fields = {n: None if n in absent else "fp32" for n in names if n.endswith("_ptr")}
        given, missing = pointers(**fields)
        yield Variant(
            name=f"{OP}-{name}",
            kernel=kernel,
            arguments=given | {n: "i32" for n in names if n in SIZES},
            constants={**missing, **constants},
            tile=chosen,
        )
