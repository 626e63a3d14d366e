"""A result video beside its clean original, or beside the subtitled input where no clean video is left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from clear_rt.frames.info import VideoInfo
from clear_rt.metrics.changes import ChangesSum
from clear_rt.metrics.clip import ClipSum
from clear_rt.metrics.config import EvalConfig
from clear_rt.metrics.frechet import frechet
from clear_rt.metrics.judges import Judges
from clear_rt.metrics.neighbours import NeighboursSum
from clear_rt.metrics.score import Evaluation, MaskOrigin, Score
from clear_rt.metrics.videos import Together, Videos, lockstep, probed

if TYPE_CHECKING:
    from clear_rt.metrics.video_features import SnippetSum

_CLIPS = ("clean", "result", "source")


class Watcher(Protocol):
    """What may look at every frame on its way, as a contact sheet does."""

    def add(self, frame: Together) -> None: ...


def evaluate(
    result: Path,
    clean: Path | None = None,
    source: Path | None = None,
    mask: Path | None = None,
    *,
    every_frames: int = 10,
    find_text: bool = True,
    progress: Callable[[int], None] | None = None,
) -> Evaluation:
    """Compare `result`, and `source` (the subtitled input) where given, with `clean`, frame by frame in order.

    Without `clean`, `result` is compared with `source`. `mask` is a gray video as `burn` writes it: a pixel is inside
    where it is above 0; without it, the mask is taken from a difference (`Together`). Which frames are looked at for
    what, `EvalConfig` says. `progress` gets the number of frames done after each one. Memory does not grow with the
    videos' length.

    Raises:
        InputError: a video cannot be read, or pictures or frame counts do not agree.
        ConfigError: a package of the [eval] extra is missing, `every_frames` is below 1, or there is neither clean
            nor source.
    """
    config = EvalConfig(every_frames=every_frames, find_text=find_text)
    videos = Videos(result=result, clean=clean, source=source, mask=mask)
    return compare(videos, config, Judges.load(config), progress)


def compare(
    videos: Videos,
    config: EvalConfig,
    judges: Judges,
    progress: Callable[[int], None] | None = None,
    watcher: Watcher | None = None,
) -> Evaluation:
    """As `evaluate`, with judges that are loaded already; what they pool over pairs grows once this pair is done."""
    infos = probed(videos)
    sums = _Sums(infos, config, judges)
    for frame in lockstep(infos):
        sums.add(frame)
        if watcher is not None:
            watcher.add(frame)
        if progress is not None:
            progress(sums.frames)
    origin: MaskOrigin = "given" if videos.mask else "difference" if videos.source else "none"
    return sums.evaluation(origin)


class _Sums:
    """Running figures of the whole comparison."""

    def __init__(self, infos: dict[str, VideoInfo], config: EvalConfig, judges: Judges) -> None:
        self.frames = 0
        self._info, self._every_frames, self._judges = infos["result"], config.every_frames, judges
        names = [name for name in _CLIPS if name in infos]
        self._clips = {name: ClipSum(judges) for name in names}
        self._neighbours = NeighboursSum(names)
        self._changes = ChangesSum() if "source" in infos else None
        self._snippets = _snippets(judges) if "clean" in infos else {}
        self._inside_px = 0

    def add(self, frame: Together) -> None:
        sampled = self.frames % self._every_frames == 0
        clean, mask = frame.rgb.get("clean"), frame.mask
        for name, clip in self._clips.items():
            clip.add(frame.rgb[name], None if name == "clean" else clean, mask, sampled)
        self._neighbours.add(frame.rgb, mask, sampled=sampled)
        if self._changes is not None and mask is not None:
            pictures = frame.frames["source"], frame.frames["result"]
            self._changes.add(*pictures, frame.rgb["source"], frame.rgb["result"], mask)
        for name, snippets in self._snippets.items():
            snippets.add(frame.rgb[name])
        self._inside_px += int(np.count_nonzero(mask)) if mask is not None else 0
        self.frames += 1

    def evaluation(self, mask: MaskOrigin) -> Evaluation:
        pixels = self.frames * self._info.height_px * self._info.width_px
        scores = self._scores()
        return Evaluation(
            frames=self.frames,
            width_px=self._info.width_px,
            height_px=self._info.height_px,
            every_frames=self._every_frames,
            mask=mask,
            mask_share=self._inside_px / pixels if mask != "none" and pixels else None,
            result=scores["result"],
            source=scores.get("source"),
            clean=scores.get("clean"),
            changes=None if self._changes is None else self._changes.result(),
            vfid=self._vfid(),
        )

    def _scores(self) -> dict[str, Score]:
        found = self._neighbours.result()
        natural = found["clean"].warping if "clean" in found else None
        scores = {}
        for name, clip in self._clips.items():
            warping = found[name].warping
            ratio = warping / natural if warping is not None and natural and name != "clean" else None
            scores[name] = clip.score(found[name], ratio)
        return scores

    def _vfid(self) -> float | None:
        if not self._snippets:
            return None
        features = {name: snippets.result() for name, snippets in self._snippets.items()}
        self._judges.pooled.result.merge(features["result"])
        self._judges.pooled.clean.merge(features["clean"])
        return frechet(features["result"], features["clean"])


def _snippets(judges: Judges) -> dict[str, SnippetSum]:
    if judges.video_backbone is None:
        return {}
    from clear_rt.metrics.video_features import SnippetSum

    return {name: SnippetSum(judges.video_backbone) for name in ("result", "clean")}
