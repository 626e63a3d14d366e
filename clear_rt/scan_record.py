"""What the first pass found, as bytes that an interrupted run leaves for the next."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from clear_rt.frames.decoder import Decoder
from clear_rt.regions import RegionRun
from clear_rt.scan import Scanned
from clear_rt.shapes import Box
from clear_rt.states import Array, StateError, integers, packed, unpacked

_COLUMNS = 6


def record(scanned: Scanned, decoder: Decoder) -> bytes:
    """For `recorded`, with what the decoder has learnt of the video."""
    runs, signs = _rows(scanned.runs), _rows(scanned.signs)
    times_us = np.array(scanned.times_us, np.int64)
    is_whole = integers(decoder.may_use_gpu and decoder.frames is not None)
    return packed(
        [
            ("runs", runs),
            ("signs", signs),
            ("times_us", times_us),
            ("end_us", integers(scanned.end_us)),
            ("is_whole", is_whole),
        ]
    )


def recorded(data: bytes | None, decoder: Decoder) -> Scanned | None:
    """What was found then, which the decoder is told of; None where there is nothing, or it is of no use.

    Raises EngineError where NVDEC was asked for by name and the video was seen to be damaged or interlaced.
    """
    if data is None:
        return None
    try:
        stored = unpacked(data)
        runs, signs, times_us, end_us = (stored.any(name) for name in ("runs", "signs", "times_us", "end_us"))
        is_whole = stored.integer("is_whole")
    except StateError:
        return None
    if any(rows.ndim != 2 or rows.shape[1] != _COLUMNS for rows in (runs, signs)):
        return None
    if times_us.ndim != 1 or end_us.shape != (1,):
        return None
    if decoder.may_use_gpu and is_whole:
        decoder.frames = len(times_us)
    elif decoder.may_use_gpu:
        decoder.decline("the first pass did not decode it without damage")
    return Scanned(_runs(runs), array("q", times_us.tobytes()), int(end_us[0]), _runs(signs))


def _rows(runs: Sequence[RegionRun]) -> NDArray[np.int64]:
    rows = [
        (run.start_frame, run.stop_frame, run.box.x_px, run.box.y_px, run.box.width_px, run.box.height_px)
        for run in runs
    ]
    return np.array(rows, np.int64).reshape(-1, _COLUMNS)


def _runs(rows: Array) -> tuple[RegionRun, ...]:
    return tuple(RegionRun(start, stop, Box(*box)) for start, stop, *box in rows.tolist())
