"""`--dry-run`: what a removal would do to a video, how long it would take and how large the result would be.

The first pass is made whole; of the second one as much as shows what an edited frame costs here.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from clear_rt.config import WriteConfig
from clear_rt.remover import Looked, Remover
from clear_rt.shapes import Box
from clear_rt.telling import Progress

# A window of the model makes more than these final at once; of the membrane they take a second.
_SAMPLE_FRAMES = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """`text_us` of `duration_us` have text in them; `seconds` and `size_bytes` are estimates for this machine.

    The size is None where the quality that was asked for decides it.
    """

    source: Path
    target: Path
    frames: int
    frames_with_text: int
    duration_us: int
    text_us: int
    boxes: tuple[Box, ...]
    runs: int
    seconds: float
    size_bytes: int | None

    def as_dict(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "source": str(self.source),
            "target": str(self.target),
            "frames": self.frames,
            "frames_with_text": self.frames_with_text,
            "duration_s": self.duration_us / 1e6,
            "text_s": self.text_us / 1e6,
            "boxes": [[box.x_px, box.y_px, box.width_px, box.height_px] for box in self.boxes],
            "runs": self.runs,
            "estimated_seconds": self.seconds,
            "estimated_bytes": self.size_bytes,
        }


def forecast(remover: Remover, source: Path, target: Path, progress: Progress | None = None) -> Forecast:
    """Nothing is written. Raises what `Remover` raises of its first pass, and of the frames that are tried.

    Outside of text a frame is taken to cost as much again as in the first pass.
    """
    begun = perf_counter()
    found = remover.look(source, progress)
    scan_s = perf_counter() - begun
    scanned = found.scanned
    with_text = _frames_within(found)
    frame_s = scan_s / max(scanned.frames, 1)
    edited_s = _edited_frame_s(remover, source, found) if scanned.runs else 0.0
    again_s = with_text * edited_s + (scanned.frames - with_text) * frame_s if scanned.runs else 0.0
    return Forecast(
        source=source,
        target=target,
        frames=scanned.frames,
        frames_with_text=with_text,
        duration_us=scanned.duration_us,
        text_us=_covered([range(*interval) for interval in scanned.intervals_us]),
        boxes=tuple(sorted({run.box for run in scanned.runs})),
        runs=len(scanned.runs),
        seconds=scan_s + again_s,
        size_bytes=_size_bytes(remover.config.write, found),
    )


def _edited_frame_s(remover: Remover, source: Path, found: Looked) -> float:
    """What an edited frame takes: by the first of them, of the model by the calls that they took of all."""
    begun, edited, calls = perf_counter(), 0, (0, 1)

    def tell(phase: str, done: int, total: int | None) -> None:
        nonlocal calls
        if phase == "generating" and total:
            calls = done, total

    with closing(remover.cleaned(source, tell, found)) as cleaned:
        for seen in cleaned:
            if seen.result is seen.source and not edited:
                begun = perf_counter()
                continue
            edited += 1
            if edited == _SAMPLE_FRAMES:
                break
    elapsed_s = perf_counter() - begun
    done, total = calls
    if done:
        return elapsed_s / done * total / max(_frames_within(found), 1)
    return elapsed_s / max(edited, 1)


def _size_bytes(config: WriteConfig, found: Looked) -> int | None:
    """The source's where its bit rate is aimed at or its packets are copied."""
    if not found.scanned.runs:
        return found.info.size_bytes
    if config.lossless or config.crf is not None:
        return None
    if config.bitrate == "auto":
        return found.info.size_bytes
    return round(config.bitrate * found.scanned.duration_us / 8e6)


def _frames_within(found: Looked) -> int:
    return _covered([range(run.start_frame, run.stop_frame) for run in found.scanned.runs])


def _covered(stretches: list[range]) -> int:
    """The length of all stretches together, what they share counted once."""
    total, reached = 0, 0
    for stretch in sorted(stretches, key=lambda one: one.start):
        total += max(0, stretch.stop - max(stretch.start, reached))
        reached = max(reached, stretch.stop)
    return total
