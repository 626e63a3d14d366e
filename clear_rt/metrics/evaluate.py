"""A result video beside its clean original: fidelity, and text found before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from clear_rt.errors import ConfigError, InputError
from clear_rt.frames.frame import Frame
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.probe import probe
from clear_rt.frames.read import read
from clear_rt.metrics.masks import mask_from_difference
from clear_rt.metrics.psnr import Psnr, PsnrSum
from clear_rt.metrics.ssim import ssim
from clear_rt.metrics.text import TextFinder, TextShare

UInt8 = npt.NDArray[np.uint8]
Bool = npt.NDArray[np.bool_]
MaskOrigin = Literal["given", "difference", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One video compared with the clean one. `ssim` and the shares (0..1) of frames with text come from every n-th
    frame, `psnr` from all of them; None: not measured. Text "on the mask" lies where the subtitles were: a detector
    also sees text in leaves and windows, and changes its mind with every compression.
    """

    psnr: Psnr
    ssim: float | None
    frames_with_text: float | None
    frames_with_text_on_mask: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What `evaluate` measured.

    `mask` says where the mask came from: the mask video, the difference between source and clean (approximate), or
    nowhere, which leaves all figures inside and outside at None. `mask_share` is the part of all pixels inside it.
    `pixels_changed_outside` counts pixels outside the mask whose RGB differs between result and source.
    """

    frames: int
    width_px: int
    height_px: int
    every_frames: int
    mask: MaskOrigin
    mask_share: float | None
    result: Score
    source: Score | None
    clean_frames_with_text: float | None
    clean_frames_with_text_on_mask: float | None
    pixels_changed_outside: int | None

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; infinite decibels (no difference at all) become the string "inf"."""
        plain: dict[str, Any] = _finite(asdict(self))
        return plain


def evaluate(
    result: Path,
    clean: Path,
    source: Path | None = None,
    mask: Path | None = None,
    *,
    every_frames: int = 10,
    find_text: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Compare `result`, and `source` (the subtitled input) where given, with `clean`, frame by frame in order.

    `mask` is a gray video as `burn` writes it: a pixel is inside where it is above 0. Without it, the mask is taken
    from source minus clean (see `mask_from_difference`). SSIM and the text detector look at every `every_frames`-th
    frame. `progress` gets the number of frames done after each one. Memory does not grow with the videos' length.

    Raises:
        InputError: a video cannot be read, or pictures or frame counts do not agree.
        ConfigError: a package of the [eval] extra is missing, or `every_frames` is below 1.
    """
    if every_frames < 1:
        raise ConfigError(f"every_frames must be at least 1, got {every_frames}")
    videos = {"result": result, "clean": clean, "source": source, "mask": mask}
    paths = {name: path for name, path in videos.items() if path is not None}
    infos = {name: probe(path) for name, path in paths.items()}
    _check_comparable(infos)
    sums = _Sums(infos["clean"], TextFinder() if find_text else None, every_frames, with_source=source is not None)
    for pictures in _lockstep(infos):
        sums.add(pictures)
        if progress is not None:
            progress(sums.frames)
    origin: MaskOrigin = "given" if mask is not None else "difference" if source is not None else "none"
    return sums.evaluation(origin)


class _VideoSums:
    """Running figures of one video against the clean one."""

    def __init__(self, finder: TextFinder | None) -> None:
        self._psnr = PsnrSum()
        self._sampled, self._ssim = 0, 0.0
        self._masked = False
        self._text = TextShare(finder) if finder is not None else None

    def add(self, rgb: UInt8, clean: UInt8, mask: Bool | None, sampled: bool) -> None:
        self._psnr.add(rgb, clean, mask)
        self._masked = mask is not None
        if sampled:
            self._sampled += 1
            self._ssim += ssim(rgb, clean)
            if self._text is not None:
                self._text.add(rgb, mask)

    def score(self) -> Score:
        return Score(
            psnr=self._psnr.result(),
            ssim=self._ssim / self._sampled if self._sampled else None,
            frames_with_text=self._text.result() if self._text is not None else None,
            frames_with_text_on_mask=self._text.on_mask() if self._text is not None and self._masked else None,
        )


class _Sums:
    """Running figures of the whole comparison."""

    def __init__(self, info: VideoInfo, finder: TextFinder | None, every_frames: int, *, with_source: bool) -> None:
        self.frames = 0
        self._height_px, self._width_px = info.height_px, info.width_px
        self._every_frames = every_frames
        self._result = _VideoSums(finder)
        self._source = _VideoSums(finder) if with_source else None
        self._clean_text = TextShare(finder) if finder is not None else None
        self._inside_px, self._changed_px = 0, 0

    def add(self, pictures: dict[str, Frame]) -> None:
        """One frame of every video, by the name of its part."""
        size = self._height_px, self._width_px
        rgb = {name: frame.rgb(*size) for name, frame in pictures.items() if name != "mask"}
        mask = self._mask(pictures.get("mask"), rgb)
        sampled = self.frames % self._every_frames == 0
        self._result.add(rgb["result"], rgb["clean"], mask, sampled)
        if self._source is not None and mask is not None:
            self._source.add(rgb["source"], rgb["clean"], mask, sampled)
            changed = (rgb["result"] != rgb["source"]).any(axis=2)
            self._changed_px += int(np.count_nonzero(changed & ~mask))
        if sampled and self._clean_text is not None:
            self._clean_text.add(rgb["clean"], mask)
        self._inside_px += int(np.count_nonzero(mask)) if mask is not None else 0
        self.frames += 1

    def _mask(self, frame: Frame | None, rgb: dict[str, UInt8]) -> Bool | None:
        if frame is not None:
            inside: Bool = frame.planes[0].samples > 0
            return inside
        return mask_from_difference(rgb["source"], rgb["clean"]) if "source" in rgb else None

    def evaluation(self, mask: MaskOrigin) -> Evaluation:
        pixels = self.frames * self._height_px * self._width_px
        return Evaluation(
            frames=self.frames,
            width_px=self._width_px,
            height_px=self._height_px,
            every_frames=self._every_frames,
            mask=mask,
            mask_share=self._inside_px / pixels if mask != "none" and pixels else None,
            result=self._result.score(),
            source=self._source.score() if self._source is not None else None,
            clean_frames_with_text=self._clean_text.result() if self._clean_text is not None else None,
            clean_frames_with_text_on_mask=self._clean_text.on_mask() if self._clean_text and mask != "none" else None,
            pixels_changed_outside=self._changed_px if self._source is not None else None,
        )


def _check_comparable(infos: dict[str, VideoInfo]) -> None:
    clean = infos["clean"]
    for name, info in infos.items():
        if (info.height_px, info.width_px) != (clean.height_px, clean.width_px):
            raise InputError(
                f"{name} {info.path} is {info.width_px}x{info.height_px}, clean {clean.path} is "
                f"{clean.width_px}x{clean.height_px}; give videos of one size"
            )
    if "mask" in infos and not infos["mask"].pixel_format.startswith("gray"):
        raise InputError(
            f"mask {infos['mask'].path} is a {infos['mask'].pixel_format} video, expected gray; "
            "give the file that clear-rt burn --mask wrote, or leave it out"
        )


def _lockstep(infos: dict[str, VideoInfo]) -> Iterator[dict[str, Frame]]:
    with ExitStack() as stack:
        readers = [stack.enter_context(closing(read(info))) for info in infos.values()]
        for index, frames in enumerate(zip_longest(*readers)):
            pictures = {name: frame for name, frame in zip(infos, frames, strict=True) if frame is not None}
            if len(pictures) < len(infos):
                ended, going = next(name for name in infos if name not in pictures), next(iter(pictures))
                raise InputError(
                    f"{ended} {infos[ended].path} ends after {index} frames, {going} {infos[going].path} goes on; "
                    "give videos of the same frames"
                )
            yield pictures


def _finite(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return "inf" if isinstance(value, float) and math.isinf(value) else value
