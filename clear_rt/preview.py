"""`--preview` and `--compare`: what a run did, to be looked at. Both watch a run, neither changes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clear_rt import frames
from clear_rt.errors import OutputError
from clear_rt.remover import Cleaned
from clear_rt.shapes import working_size

UInt8 = npt.NDArray[np.uint8]
ROWS = 4
GAP_PX = 4


class Preview:
    """A PNG of a few frames: source, occlusion map over the matte's outline, result, at the prior's working size.

    Every edited frame is a candidate; whenever twice as many as wanted are held, every second is dropped, so the rows
    spread over the run whatever its length.
    """

    def __init__(self) -> None:
        self._rows: list[UInt8] = []
        self._every, self._seen = 12, 0

    def __call__(self, cleaned: Cleaned) -> None:
        if cleaned.result is cleaned.source:
            return
        self._seen += 1
        if (self._seen - 1) % self._every:
            return
        self._rows.append(self._row(cleaned))
        if len(self._rows) == 2 * ROWS:
            self._rows, self._every = self._rows[::2], self._every * 2

    def _row(self, cleaned: Cleaned) -> UInt8:
        height, width = cleaned.occlusion.shape
        source = cleaned.source.rgb(height, width)
        shown = source // 3
        shown[..., 0] = np.maximum(shown[..., 0], cleaned.occlusion)
        shown[..., 1] = np.maximum(shown[..., 1], cleaned.matte // 2)
        gap = np.full((height, GAP_PX, 3), 255, np.uint8)
        return np.hstack([source, gap, shown, gap, cleaned.result.rgb(height, width)])

    def page(self) -> UInt8 | None:
        """The picture, uint8 [h, w, 3]; None where no frame was changed."""
        if not self._rows:
            return None
        rows = self._rows[:: max(1, -(-len(self._rows) // ROWS))]
        gap = np.full((GAP_PX, rows[0].shape[1], 3), 255, np.uint8)
        return np.vstack([part for row in rows for part in (row, gap)][:-1])


@contextmanager
def watching(
    source: Path, target: Path, preview: Path | None, compare: Path | None, short_side_px: int
) -> Iterator[Callable[[Cleaned], None] | None]:
    """What `Remover` calls for every frame of the second pass; both files appear at the end of a run that went well.

    The comparison shows source and result side by side, each at the prior's working size. Where no text is found there
    is no second pass, and neither file is written.

    Raises:
        OutputError: a name with the wrong extension, or a place that cannot be written.
    """
    if preview is not None and preview.suffix.lower() != ".png":
        raise OutputError(f"--preview must end in .png, got {preview.name!r}; rename it")
    taken = [target]
    for path in (preview, compare):
        if path is not None:
            frames.check_target(source, path)
            if any(frames.same_place(path, other) for other in taken):
                raise OutputError(f"{path} was asked for twice, as result, preview or comparison; name different files")
            taken.append(path)
    if preview is None and compare is None:
        yield None
        return
    watchers: list[Callable[[Cleaned], None]] = []
    pages = Preview()
    with ExitStack() as stack:
        if compare is not None:
            info = frames.probe(source)
            size = working_size(info.width_px, info.height_px, short_side_px)
            writer = stack.enter_context(
                frames.PlainWriter(compare, 2 * size.width_px, size.height_px, info.rate, frames.RGB_TO_WATCH)
            )
            watchers.append(lambda cleaned: writer.write(_pair(cleaned), cleaned.source.time_us))
        if preview is not None:
            watchers.append(pages)

        def watch(cleaned: Cleaned) -> None:
            for watcher in watchers:
                watcher(cleaned)

        yield watch
    if preview is not None and (page := pages.page()) is not None:
        frames.write_png(preview, page)


def _pair(cleaned: Cleaned) -> UInt8:
    height, width = cleaned.occlusion.shape
    return np.hstack([frame.rgb(height, width) for frame in (cleaned.source, cleaned.result)])
