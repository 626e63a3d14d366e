"""What an evaluation found, as values and as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

from clear_rt.metrics.changes import Changes
from clear_rt.metrics.neighbours import Neighbours
from clear_rt.metrics.psnr import Psnr

MaskOrigin = Literal["given", "difference", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One video: beside the clean one (`psnr` to `dists`; None for the clean one itself), and by itself.

    `psnr` comes from all frames, the others from every n-th: `ssim`, `ms_ssim` (up to 1), `lpips` and `dists` (0:
    identical) and the shares (0..1) of frames with text. None: not measured. Text "on the mask" lies where the
    subtitles were: a detector also sees text in leaves and windows, and changes its mind with every compression.
    `warping_ratio` is the warping error by that of the clean video: 1 is no more flicker than it has by nature.
    """

    psnr: Psnr
    ssim: float | None
    ms_ssim: float | None
    lpips: float | None
    dists: float | None
    frames_with_text: float | None
    frames_with_text_on_mask: float | None
    neighbours: Neighbours
    warping_ratio: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `evaluate` measured; `clean`, `source` and `changes` are None where there was no such video.

    `mask` says where the mask came from: the mask video, a difference (approximate: of source and clean, without a
    clean video of source and result), or nowhere, which leaves PSNR inside and outside at None. `mask_share` is the
    part of all pixels inside it. `vfid` is the Frechet distance of the result's and the clean video's snippets.
    """

    frames: int
    width_px: int
    height_px: int
    every_frames: int
    mask: MaskOrigin
    mask_share: float | None
    result: Score
    source: Score | None
    clean: Score | None
    changes: Changes | None
    vfid: float | None

    @property
    def clean_frames_with_text(self) -> float | None:
        return None if self.clean is None else self.clean.frames_with_text

    @property
    def clean_frames_with_text_on_mask(self) -> float | None:
        return None if self.clean is None else self.clean.frames_with_text_on_mask

    @property
    def pixels_changed_outside(self) -> int | None:
        return None if self.changes is None else self.changes.pixels_outside

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinite decibels (no difference at all) become the string "inf"."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return "inf" if isinstance(value, float) and math.isinf(value) else value
