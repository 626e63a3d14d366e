"""Frames with a drawing on them: drawn in the source's own samples, then damaged, with the mask and the clean twin."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import tee

import numpy as np

from clear_rt.burn.damage.chain import damaged, moved_by
from clear_rt.burn.damage.damage import Damage
from clear_rt.burn.drawing import Drawing
from clear_rt.burn.layers import Layer, LayerStore
from clear_rt.burn.overlay import Glimpse, UInt8
from clear_rt.burn.recipe import Recipe
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.shapes import Size, whole


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame with everything drawn on it, without what is to be removed, and the alpha of that: uint8 [H, W]."""

    subtitled: Frame
    twin: Frame
    mask: UInt8


def burned(
    frames: Iterable[Frame], info: VideoInfo, drawing: Drawing, recipe: Recipe, *, twin: bool = True
) -> Iterator[Shot]:
    """A shot for every frame, in order. Without `twin` that is not damaged: nobody looks at it."""
    shots = _drawn(frames, info, drawing)
    damage = recipe.damage
    if not damage.changes_anything:
        return shots
    firsts, seconds, thirds = tee(shots, 3)
    subtitled = _damaged((shot.subtitled for shot in firsts), info, damage, recipe.seed)
    twins = (shot.twin for shot in seconds)
    masks = moved_by((shot.mask for shot in thirds), damage)
    clean = _damaged(twins, info, damage, recipe.seed) if twin else twins
    return (Shot(*parts) for parts in zip(subtitled, clean, masks, strict=True))


def _drawn(frames: Iterable[Frame], info: VideoInfo, drawing: Drawing) -> Iterator[Shot]:
    """Drawn on in a copy where there is something to draw; else the frame itself."""
    first_us: int | None = None
    store = LayerStore(info)
    for frame in frames:
        first_us = frame.time_us if first_us is None else first_us
        seen = drawing.at(frame.time_us - first_us, _glimpse(frame))
        stays = store.layers(seen.stays, frame.planes)
        goes = store.layers(seen.goes, frame.planes)
        twin = _with(frame, stays)
        yield Shot(_with(twin, goes), twin, _alpha(goes, info))


def _glimpse(frame: Frame) -> Glimpse:
    return lambda height_px, width_px: frame.rgb(height_px, width_px)


def _with(frame: Frame, layers: tuple[Layer, ...]) -> Frame:
    drawn = frame.edited() if layers else frame
    for layer in layers:
        layer.blend(drawn.planes)
    return drawn


def _alpha(layers: Iterable[Layer], info: VideoInfo) -> UInt8:
    """What all layers together cover: uint8 [H, W]. Where two overlap, as if one were laid over the other."""
    alpha = np.zeros((info.height_px, info.width_px), np.uint8)
    for layer in layers:
        height_px, width_px = layer.alpha.shape
        window = alpha[layer.y_px : layer.y_px + height_px, layer.x_px : layer.x_px + width_px]
        through = (255 - window.astype(np.float32)) * (255 - layer.alpha.astype(np.float32)) / 255
        window[...] = np.ceil(255 - through).astype(np.uint8)
    return alpha


def _damaged(frames: Iterable[Frame], info: VideoInfo, damage: Damage, seed: int) -> Iterator[Frame]:
    """In 8-bit RGB, whatever the source's samples are, and back; times and colour description are kept."""
    waiting: deque[Frame] = deque()

    def pictures() -> Iterator[UInt8]:
        for frame in frames:
            waiting.append(frame)
            yield frame.rgb(info.height_px, info.width_px, exact=True)

    for picture in damaged(pictures(), damage, seed):
        yield _with_picture(waiting.popleft(), picture, info)


def _with_picture(frame: Frame, picture: UInt8, info: VideoInfo) -> Frame:
    twin = frame.edited()
    box = whole(Size(info.width_px, info.height_px))
    for plane, values in zip(twin.planes, twin.samples_of(picture.astype(np.float32), box), strict=True):
        if values is not None:
            rounded = np.clip(np.rint(values), 0, 2**plane.bits - 1)
            plane.samples[...] = rounded.astype(plane.samples.dtype) << plane.shift
    return twin
