"""One frame's text filled from the frame beside it: what is hidden here can be seen there, once motion is followed.

What a frame beside shows is carried along the flow and mixed with the frame's own fill, each by the inverse of its
expected squared error in luma levels of 8 bits. That of the frame's own fill is half of the luma's variance around the
hole: a smooth fill is right where the picture is smooth. That of what is carried grows with every frame by half of what
the flow misses around the hole, so that after a cut, or where the flow is wrong, the frame's own fill stays. Shares
between an eighth and four were tried on the six clips of `benchmarks.bench_quality` (docs/LOG.md, 2026-11-28).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt

from clear_rt.composite import HOLE_ALPHA, FrameLike, PlaneLike, full_plane, stored
from clear_rt.grid import Grid
from clear_rt.holes import Hole
from clear_rt.matte_planes import alpha_for
from clear_rt.motion import LEAST_SIDE_PX, flow_around, places
from clear_rt.shapes import Box, grow, plane_box

UInt8 = npt.NDArray[np.uint8]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float32]
Samples = npt.NDArray[Any]

# Cells around a hole that take part, and the side in pixels of the squares over which squares are averaged.
_AROUND_CELLS = 64
_WINDOW_PX = 61
_LEAST_SHARE = 0.02
_OWN_SHARE = _MISSED_SHARE = 0.5
# Expected squared errors: of samples that nothing covered, the least of others, and of what nothing is known of.
SEEN, LEAST_HIDDEN, UNKNOWN = 1.0, 2.0, 1e6
# OpenCV moves no picture with a longer side.
_LONGEST_PX = 32766


class Known(NamedTuple):
    """What a frame tells the one beside it: the samples of its planes as stored, and their expected squared errors.

    `errors` float32 [rows, columns] of the grid; None where nothing was covered.
    """

    planes: tuple[Samples, ...]
    errors: Floats | None = None


@dataclass(frozen=True, slots=True)
class Patch:
    """A hole with what lies around it, in `cells` of the grid; `inner` are those of the hole and one more each way.

    Of all cells: `luma` uint8 of the frame with its own fill, whether any of it is `hidden`, the share of cells around
    that is `shown`, and the squared error that is expected of the own fill, float32.
    """

    hole: Hole
    cells: Box
    inner: Box
    luma: UInt8
    hidden: Bools
    shown: Floats
    own: Floats


class Carried(NamedTuple):
    """Samples of every plane in a hole as the frame beside shows them, None of alpha; expected errors of all cells."""

    contents: tuple[Samples | None, ...]
    errors: Floats


def patches_of(frame: FrameLike, holes: Iterable[Hole], grid: Grid) -> list[Patch]:
    """The patches of a frame that is filled; none where motion cannot be looked for: in narrow and in huge pictures."""
    if max(frame.planes[0].samples.shape) > _LONGEST_PX:
        return []
    return [patch for hole in holes if (patch := _patch(frame, hole, grid)) is not None]


def seen(frame: FrameLike) -> Known:
    """Of a frame in which nothing is filled."""
    return Known(tuple(plane.samples for plane in frame.planes))


def known(frame: FrameLike, patches: Sequence[Patch], carried: Sequence[Carried], grid: Grid) -> Known:
    """Of a frame whose holes are filled by itself and by what was `carried`, one for every patch or none at all."""
    if not patches:
        return seen(frame)
    planes = tuple(plane.samples.copy() for plane in frame.planes)
    errors = np.full((grid.size.height_px, grid.size.width_px), SEEN, np.float32)
    for i, patch in enumerate(patches):
        parts = carried[i : i + 1]
        fill(planes, frame.planes, patch, parts, grid)
        least = np.minimum.reduce([patch.own, *(part.errors for part in parts)])
        errors[patch.cells.slices][patch.hidden] = np.maximum(least, LEAST_HIDDEN)[patch.hidden]
    return Known(planes, errors)


def carry(beside: Known, frame: FrameLike, patch: Patch, grid: Grid) -> Carried:
    """What the frame `beside` shows of a patch of `frame`, and how far it is to be believed."""
    full = full_plane(frame.planes)
    there = _luma(beside.planes[full], frame.planes[full], patch.cells, grid)
    before = None if beside.errors is None else beside.errors[patch.cells.slices]
    flow = flow_around(patch.luma, there, patch.hidden if before is None else patch.hidden | (before > SEEN))
    errors = _errors(before, there, patch, places(flow), grid)
    px = grid.magnified(flow[patch.inner.within(patch.cells).slices], patch.inner, patch.hole.box) * np.float32(
        grid.step_px
    )
    contents = (
        None if plane.kind == "alpha" else _moved(samples, plane, patch.hole.box, px)
        for samples, plane in zip(beside.planes, frame.planes, strict=True)
    )
    return Carried(tuple(contents), errors)


def fill(
    target: Sequence[Samples], planes: Sequence[PlaneLike], patch: Patch, carried: Sequence[Carried], grid: Grid
) -> None:
    """Mixes what was carried into the own fill of one patch that `target` holds, the stored samples of all planes.

    Samples of less than `HOLE_ALPHA` keep every bit: the membrane hangs on them.
    """
    if not carried:
        return
    inner = patch.inner.within(patch.cells).slices
    weights = [
        grid.magnified(np.reciprocal(errors[inner]), patch.inner, patch.hole.box)
        for errors in (patch.own, *(part.errors for part in carried))
    ]
    for i, (samples, plane) in enumerate(zip(target, planes, strict=True)):
        if plane.kind == "alpha":
            continue
        step_x_px, step_y_px = plane.step_x_px, plane.step_y_px
        box, alpha, _ = patch.hole
        share = alpha_for(alpha, box, step_x_px, step_y_px, spread=plane.kind == "chroma")
        part = samples[plane_box(box, step_x_px, step_y_px).slices]
        own = (part >> plane.shift).astype(np.float32)
        mixed, total = np.zeros_like(own), np.zeros_like(own)
        for weight, values in zip(weights, (own, *(one.contents[i] for one in carried)), strict=True):
            weight = weight[::step_y_px, ::step_x_px]
            mixed += weight * values
            total += weight
        mixed /= total
        np.copyto(part, stored(mixed, plane), where=(share >= HOLE_ALPHA) & _allowed(patch.hole, plane))


def _patch(frame: FrameLike, hole: Hole, grid: Grid) -> Patch | None:
    covered = grid.covering(hole.box)
    if covered is None:
        return None
    cells, inner = (grow(covered, margin, margin, grid.size) for margin in (_AROUND_CELLS, 1))
    if min(cells.width_px, cells.height_px) < LEAST_SIDE_PX:
        return None
    plane = frame.planes[full_plane(frame.planes)]
    luma = _luma(plane.samples, plane, cells, grid)
    hidden = np.zeros(luma.shape, np.bool_)
    hidden[covered.within(cells).slices] = grid.any(hole.alpha > 0, hole.box, covered)
    shown = _window_mean((~hidden).astype(np.float32), grid)
    mean, square = (_around(values, hidden, shown, grid) for values in (luma, np.square(luma, dtype=np.float32)))
    own = np.float32(_OWN_SHARE) * (square - np.square(mean))
    return Patch(hole, cells, inner, luma, hidden, shown, np.maximum(own, np.float32(LEAST_HIDDEN)))


def _allowed(hole: Hole, plane: PlaneLike) -> Bools:
    """The samples of a plane in the hole's box that stand for any pixel that may be filled."""
    outer = plane_box(hole.box, plane.step_x_px, plane.step_y_px)
    allowed = np.zeros((outer.height_px, outer.width_px), np.bool_)
    for box in hole.within:
        if (inside := plane_box(box, plane.step_x_px, plane.step_y_px).common(outer)) is not None:
            allowed[inside.within(outer).slices] = True
    return allowed


def _errors(before: Floats | None, there: UInt8, patch: Patch, at: tuple[Floats, Floats], grid: Grid) -> Floats:
    """Expected squared errors of what lies at the places `at` of the frame beside."""
    x, y = at
    moved = cv2.remap(there, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE).astype(np.float32)
    errors = np.float32(_MISSED_SHARE) * _around(np.square(moved - patch.luma), patch.hidden, patch.shown, grid)
    errors += SEEN if before is None else cv2.remap(before, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rows, columns = errors.shape
    errors[(x < 0) | (x > columns - 1) | (y < 0) | (y > rows - 1)] = UNKNOWN
    if patch.hidden.all():
        errors[...] = UNKNOWN
    return errors


def _around(values: npt.NDArray[Any], hidden: Bools, shown: Floats, grid: Grid) -> Floats:
    """The mean of what is not hidden around every cell, of all that is not where there is none close by."""
    visible = np.where(hidden, np.float32(0), values)
    mean = _window_mean(visible, grid)
    mean /= np.maximum(shown, _LEAST_SHARE)
    mean[shown < _LEAST_SHARE] = visible.sum() / max(np.count_nonzero(~hidden), 1)
    return mean


def _window_mean(values: Floats, grid: Grid) -> Floats:
    side = _WINDOW_PX // grid.step_px | 1
    return cast(Floats, cv2.blur(values, (side, side)))


def _luma(samples: Samples, plane: PlaneLike, cells: Box, grid: Grid) -> UInt8:
    """A plane's samples in some cells as 8 bits."""
    part = samples[grid.pixels(cells).slices] >> (plane.shift + plane.bits - 8)
    whole: UInt8 = np.ascontiguousarray(part, np.uint8)
    if grid.step_px == 1:
        return whole
    return cast(UInt8, cv2.resize(whole, (cells.width_px, cells.height_px), interpolation=cv2.INTER_AREA))


def _moved(samples: Samples, plane: PlaneLike, box: Box, flow_px: Floats) -> Samples:
    """A plane's samples in a box, as far away as the flow of every pixel of the box says."""
    part = plane_box(box, plane.step_x_px, plane.step_y_px)
    steps = np.array((plane.step_x_px, plane.step_y_px), np.float32)
    x, y = places(cast(Floats, flow_px[:: plane.step_y_px, :: plane.step_x_px] / steps))
    x, y = np.clip(x + part.x_px, 0, samples.shape[1] - 1), np.clip(y + part.y_px, 0, samples.shape[0] - 1)
    left, top = max(int(x.min()) - 1, 0), max(int(y.min()) - 1, 0)
    wanted = samples[top : int(y.max()) + 3, left : int(x.max()) + 3] >> plane.shift
    moved: Samples = cv2.remap(
        np.ascontiguousarray(wanted), x - left, y - top, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return moved
