"""Occlusion maps to mattes: which pixels of the outlined picture are replaced, and how much of each.

Source: hysteresis in time as `MatteConfig` says; growth and feather are grey dilations by octagons (cross and square
in turn).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import MatteConfig
from clear_rt.matte_planes import occupied
from clear_rt.regions_blobs import BLOCK_PX, block_counts
from clear_rt.shapes import Size, grow

Bytes = NDArray[np.uint8]
Bools = NDArray[np.bool_]

OPAQUE = 255
# A letter one pixel thin and seven tall covers 7 px; fewer than that in 3x3 blocks, with no letter nearby, are noise.
LEAST_NEARBY_PX = 6


@dataclass(frozen=True, slots=True)
class _Seen:
    """`part` holds every low pixel and a block around it, from block to block; None where there is none."""

    low: Bools
    high: Bools
    sure: Bools
    part: tuple[slice, slice] | None
    any_sure: bool


def steady(maps: Iterable[Bytes], config: MatteConfig) -> Iterator[Bytes]:
    """Yields one matte uint8 [h, w] per map uint8 [h, w] of consecutive frames, `reach_frames` maps later than its own.

    255 where the frame's text is, falling off linearly over `feather_px` around it, 0 elsewhere. Holds 2 *
    reach_frames + 1 maps. Raises ValueError where a map is of another size than the first.
    """
    reach = config.reach_frames
    window: deque[_Seen] = deque(maxlen=2 * reach + 1)
    count = 0
    for occlusion in maps:
        if window and occlusion.shape != window[0].low.shape:
            raise ValueError(f"expected maps of shape {window[0].low.shape}, got {occlusion.shape}")
        window.append(_see(occlusion, config))
        count += 1
        if count > reach:
            yield _matte(window, len(window) - 1 - reach, config)
    for late in range(min(reach, count), 0, -1):
        while len(window) > late + reach:
            window.popleft()
        yield _matte(window, len(window) - late, config)


def grow_and_feather(core: Bools, dilate_px: int, feather_px: int) -> Bytes:
    """Matte uint8 [h, w] of a mask bool [h, w]: 255 within `dilate_px`, then a linear ramp over `feather_px`.

    Distances are those of octagons: a step along an axis is one pixel, two diagonal steps are three.
    """
    matte = np.where(core, np.uint8(OPAQUE), np.uint8(0))
    box = _occupied(core, dilate_px + feather_px)
    if box is None:
        return matte
    part = matte[box]
    for step in range(dilate_px):
        part = _dilated(part, square=step % 2 == 1)
    ring = part
    for step in range(feather_px):
        ring = _dilated(ring, square=(dilate_px + step) % 2 == 1)
        np.maximum(part, ring & np.uint8(round(OPAQUE * (feather_px - step) / (feather_px + 1))), out=part)
    matte[box] = part
    return matte


def near_text(mask: Bools, sure: Bools) -> Bools:
    """`mask` bool [h, w] without the blocks of 8x8 px with fewer than six sure pixels in them and the eight around."""
    height, width = mask.shape
    padded = np.pad(block_counts(sure), 1)
    tall = padded[:-2] + padded[1:-1] + padded[2:]
    crowded = tall[:, :-2] + tall[:, 1:-1] + tall[:, 2:] >= LEAST_NEARBY_PX
    kept: Bools = mask & crowded.repeat(BLOCK_PX, axis=0)[:height].repeat(BLOCK_PX, axis=1)[:, :width]
    return kept


def _see(occlusion: Bytes, config: MatteConfig) -> _Seen:
    levels = config.low_probability, config.high_probability, config.sure_probability
    low, high, sure = (occlusion > int(OPAQUE * p) for p in levels)
    box = _occupied(low, 0)
    return _Seen(low, high, sure, None if box is None else _in_blocks(box), box is not None and bool(sure[box].any()))


def _matte(window: Iterable[_Seen], index: int, config: MatteConfig) -> Bytes:
    seen = list(window)
    own = seen[index]
    core, part = np.zeros(own.low.shape, np.bool_), own.part
    sure = [other.sure for other in seen if other.any_sure]
    if part is None or not sure:
        return core.view(np.uint8)
    low = own.low[part]
    times_high = sum((other.high[part].view(np.uint8) for other in seen), np.zeros(low.shape, np.uint8))
    steadily = low & (times_high >= min(config.least_frames, len(seen)))
    core[part] = near_text(steadily, reduce(np.logical_or, [each[part] for each in sure]))
    return grow_and_feather(core, config.dilate_px, config.feather_px)


def _in_blocks(box: tuple[slice, slice]) -> tuple[slice, slice]:
    """A box grown to the blocks of `near_text` and one more on every side; it may reach beyond the map's end."""
    rows, columns = (
        slice(max(part.start // BLOCK_PX - 1, 0) * BLOCK_PX, (-(-part.stop // BLOCK_PX) + 1) * BLOCK_PX) for part in box
    )
    return rows, columns


def _occupied(mask: Bools, margin_px: int) -> tuple[slice, slice] | None:
    box = occupied(mask)
    return None if box is None else grow(box, margin_px, margin_px, Size(mask.shape[1], mask.shape[0])).slices


def _dilated(matte: Bytes, *, square: bool) -> Bytes:
    """Maximum over a 3x3 square or cross."""
    result = matte.copy()
    np.maximum(result[1:], matte[:-1], out=result[1:])
    np.maximum(result[:-1], matte[1:], out=result[:-1])
    wide = result.copy() if square else matte
    np.maximum(result[:, 1:], wide[:, :-1], out=result[:, 1:])
    np.maximum(result[:, :-1], wide[:, 1:], out=result[:, :-1])
    return result
