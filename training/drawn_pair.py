"""A clip twice: with everything that a recipe draws, and without what is to be removed; both damaged alike."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import NamedTuple

import numpy as np
from PIL import Image

from clear_rt.burn.damage.chain import coding, damaged, moved_by
from clear_rt.burn.drawing import Drawing
from clear_rt.burn.lines import Caption, endless_captions
from clear_rt.burn.overlay import OPAQUE, Glimpse, Shown, blend
from clear_rt.burn.recipe import Recipe
from training.backgrounds import Clip, UInt8
from training.losses import pseudo_label
from training.recompressed import compressed

FRAME_US = 40_000
_CAPTIONS = 3
# Clips with a caption at the upper edge while there is one at the lower.
_BOTH_EDGES_SHARE = 0.08
# Clips that begin within so much of a caption's first moments: what fades or slides is seen to.
_EARLY_SHARE, _EARLY_US = 0.2, 400_000


class DrawnPair(NamedTuple):
    """`subtitled` and `clean` are RGB uint8 [H, W, 3] each; `stays` uint8 [H, W] is the strongest alpha of anything
    drawn in both.
    """

    subtitled: Clip
    clean: Clip
    stays: UInt8


def draw_pair(clip: Clip, recipe: Recipe, rng: np.random.Generator, *, text: bool) -> DrawnPair:
    """Draw over consecutive pictures of a clip at a moment drawn by `rng`; without `text` no captions."""
    height, width = clip[0].shape[:2]
    made_up = endless_captions(recipe.scripts, recipe.seed, recipe.times, bilingual=recipe.look.second_size > 0)
    captions = list(islice(made_up, _CAPTIONS))
    if rng.random() < _BOTH_EDGES_SHARE and not recipe.look.style.top:
        above = replace(captions[1], start_us=captions[0].start_us, stop_us=captions[0].stop_us, top=True)
        captions.insert(1, above)
    start_us = _moment(captions[0], rng)
    drawing = Drawing(recipe, width, height, captions if text else [])
    subtitled, clean, stays = [], [], np.zeros((height, width), np.uint8)
    for index, picture in enumerate(clip):
        seen = drawing.at(start_us + index * FRAME_US, _glimpse(picture))
        clean.append(_over(picture, seen.stays))
        subtitled.append(_over(clean[-1], seen.goes))
        for shown in seen.stays:
            overlay = shown.overlay
            rows, columns = overlay.rgba.shape[:2]
            window = stays[overlay.y_px : overlay.y_px + rows, overlay.x_px : overlay.x_px + columns]
            np.maximum(window, overlay.rgba[..., 3], out=window)
    return DrawnPair(subtitled, clean, stays)


def _moment(caption: Caption, rng: np.random.Generator) -> int:
    shown_us = min(caption.stop_us - caption.start_us, 10_000_000)
    early_us = min(shown_us, _EARLY_US)
    return caption.start_us + int(rng.integers(early_us if rng.random() < _EARLY_SHARE else shown_us))


def _glimpse(picture: UInt8) -> Glimpse:
    def at(height_px: int, width_px: int) -> UInt8:
        if picture.shape[:2] == (height_px, width_px):
            return picture
        return np.asarray(Image.fromarray(picture).resize((width_px, height_px), Image.Resampling.BOX))

    return at


def _over(picture: UInt8, layers: tuple[Shown, ...]) -> UInt8:
    for shown in layers:
        picture = blend(picture, shown.overlay, shown.opacity / OPAQUE)
    return picture


def damage_pair(pair: DrawnPair, recipe: Recipe, size: tuple[int, int], interpolation: str) -> DrawnPair:
    """Both clips through the recipe's damage, by the same seed, and through swscale to `size` (width, height)."""
    before, last = replace(recipe.damage, codec=None), coding(recipe.damage, _preset(recipe))

    def through(clip: Clip) -> Clip:
        worn = list(damaged(clip, before, recipe.seed))
        return compressed(worn, last.encoder, dict(last.options), size, interpolation)

    clean = through(pair.clean)
    same = all(a is b for a, b in zip(pair.subtitled, pair.clean, strict=True))
    stays = np.asarray(Image.fromarray(pair.stays).resize(size, Image.Resampling.BOX))
    return DrawnPair(clean if same else through(pair.subtitled), clean, stays)


def label_of(pair: DrawnPair, recipe: Recipe, size: tuple[int, int], index: int) -> UInt8:
    """The pseudo-label uint8 [H, W] of a picture of a pair that is not damaged yet, at `size` (width, height).

    What the damage moves is moved; grain and codec are left out: two coded pictures differ where no text is, too (43 %
    of the label at a CRF of 36).
    """
    # What is combed holds rows of the picture before.
    if all(a is b for a, b in zip(pair.subtitled[: index + 1], pair.clean[: index + 1], strict=True)):
        return np.zeros(size[::-1], np.uint8)

    def moved(clip: Clip) -> UInt8:
        *_, picture = moved_by(clip[: index + 1], recipe.damage)
        return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))

    return pseudo_label(moved(pair.subtitled), moved(pair.clean))


def _preset(recipe: Recipe) -> str:
    """Three frames of 720p take x265 1.7 s at "veryfast", 0.7 s at "ultrafast", x264 0.28 and 0.17, on busy cores."""
    fastest = recipe.damage.codec == "hevc" or recipe.seed % 2 == 0
    return "ultrafast" if fastest else "veryfast"
