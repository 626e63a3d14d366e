"""Where text is to the pixel: looked for in a small picture by the prior, outlined in a larger one by the outliner.

Text stays for seconds: what the outliner said a moment ago counts again as long as the prior sees the same and the
letters look the same. That saves 59 % of its looks at the clips of `benchmarks.bench_quality`, and they have the same
decibels inside the mask, 26.5 and 25.1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from math import ceil
from types import MappingProxyType
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import Bundle
from clear_rt.config import MatteConfig
from clear_rt.matte import OPAQUE, grow_and_feather
from clear_rt.matte_planes import luma_alpha, occupied
from clear_rt.prior import Prior
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.shapes import Box, Size, grow, outline_size, rescale, snap, working_size

UInt8 = npt.NDArray[np.uint8]
# Around what the prior saw, so much of the picture's short side: what it missed, and for the outliner some of the
# picture beside the text.
_CONTEXT_SHARE = 0.045
# Edges are multiples of so many pixels: ONNX Runtime plans anew for every size that it meets.
_STEP_PX = 32
# So many pixels around what the prior saw (of `working`) may be text: growth by two held all of it (docs/LOG.md,
# 2026-11-22).
_REACH_PX = 3
# What the prior's map counts beside the outliner's. The prior sees letters as a whole: strokes of more than 12 px are
# hollow to the outliner, and marks above Arabic letters faint. Shares of 0.2 to 0.5 differ by 0.2 dB under the text.
_PRIOR_SHARE, _SUREST = 0.35, 0.001
# The same text as before: of what is likely text in either map so much is in both, and there colours differ by fewer
# levels in the mean.
_LIKELY_LEVEL, _SAME_SHARE, _SAME_LEVELS = 128, 0.9, 6
# Frames in a row that one look may count for.
STILL_FRAMES = 4


def opened_outliner(bundle: Bundle) -> Prior | None:
    """On ONNX Runtime, whatever engine runs the generator; None where the bundle has none. Raises as `OnnxPrior`."""
    spec = bundle.outliner
    return None if spec is None else Prior(OnnxPrior(spec), spec.multiple_px)


class Strokes(NamedTuple):
    """What the outliner said of a frame, uint8 [h, w] of the pixels `near`, beside its picture and the prior's map."""

    rgb: UInt8
    seen: UInt8
    near: Box
    outlined: UInt8

    def are_of(self, rgb: UInt8, seen: UInt8, near: Box) -> bool:
        """Whether another frame shows the same text."""
        before, now = self.seen >= _LIKELY_LEVEL, seen >= _LIKELY_LEVEL
        both = before & now
        if near.union(self.near) != self.near or both.sum() < _SAME_SHARE * (before | now).sum() or not both.any():
            return False
        return bool(np.abs(rgb[both].astype(np.int16) - self.rgb[both]).mean() < _SAME_LEVELS)


class Found(NamedTuple):
    """The map uint8 [h, w] of a frame, and by box what the outliner said of it, or of a frame before."""

    map: UInt8
    strokes: Mapping[Box, Strokes] = MappingProxyType({})


class Outlining(NamedTuple):
    """What looks for text in pictures of size `working`, and what outlines it in those of size `outline`, if anything.

    `outline` is the size of the maps. What reaches `seen_level`, 255 x probability, in the prior's is worth the
    outliner's look.
    """

    prior: Prior
    working: Size
    outliner: Prior | None
    outline: Size
    seen_level: int

    @classmethod
    def of(cls, bundle: Bundle, prior: Prior, outliner: Prior | None, picture: Size, config: MatteConfig) -> Self:
        """For pictures of one size, by what a bundle's networks were made for."""
        short_side_px, spec = bundle.prior.short_side_px, bundle.outliner
        working = outline = working_size(*picture, short_side_px)
        if outliner is not None and spec is not None:
            outline = outline_size(*picture, short_side_px, spec.short_side_px)
        return cls(prior, working, outliner, outline, ceil(255 * config.seen_probability))

    def __call__(
        self,
        rgb: UInt8,
        boxes: Iterable[Box],
        picture: Callable[[Size], UInt8],
        before: Mapping[Box, Strokes] = MappingProxyType({}),
    ) -> Found:
        """The map uint8 [h, w] of a frame, 255 x probability: 0 but in and beside what the prior sees in `boxes`.

        `rgb` is the frame at `working`, whose pixels the boxes are in; `picture` gives it at `outline`, where that is
        another size and there is text that the strokes `before` are not of. Raises EngineError where a network fails.
        """
        found = np.zeros((self.outline.height_px, self.outline.width_px), np.uint8)
        strokes: dict[Box, Strokes] = {}
        larger = rgb if self.outline == self.working else None
        for box in boxes:
            seen = self.prior(rgb, box)
            if self.outliner is None:
                np.maximum(found, seen, out=found)
                continue
            text = grow_and_feather(seen >= self.seen_level, _REACH_PX, 0)
            near = self._near(text)
            if near is None:
                continue
            mine = before.get(box)
            if mine is None or not mine.are_of(rgb, seen, near):
                larger = picture(self.outline) if larger is None else larger
                mine = Strokes(rgb, seen, near, self.outliner(larger, near)[near.slices])
            strokes[box] = mine
            outlined = _mixed()[luma_alpha(seen, self.outline, mine.near), mine.outlined]
            outlined[luma_alpha(text, self.outline, mine.near) < OPAQUE // 2] = 0
            np.maximum(found[mine.near.slices], outlined, out=found[mine.near.slices])
        return Found(found, strokes)

    def _near(self, text: UInt8) -> Box | None:
        """The pixels of `outline` around all text, None where there is none."""
        box = occupied(text)
        if box is None:
            return None
        context_px = round(_CONTEXT_SHARE * min(self.outline))
        grown = grow(rescale(box, self.working, self.outline), context_px, context_px, self.outline)
        return snap(grown, _STEP_PX, self.outline)


@cache
def _mixed() -> UInt8:
    """[prior, outliner] -> both, as values of maps: the mean of their log-odds."""
    probability = np.clip(np.arange(256) / 255, _SUREST, 1 - _SUREST)
    odds = np.log(probability / (1 - probability))
    mean = _PRIOR_SHARE * odds[:, None] + (1 - _PRIOR_SHARE) * odds
    return np.rint(255 / (1 + np.exp(-mean))).astype(np.uint8)
