"""All segments and all other streams into one file, in one pass over their packets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from av.packet import Packet
from av.video.stream import VideoStream
from numpy.typing import NDArray

from clear_rt.frames.output import Output
from clear_rt.frames.segments.reorder import decoding_times, reorder_depth


class Part(NamedTuple):
    """The packets of a segment in decoding order, and their presentation times int64 [N] in the output's time base."""

    pts: NDArray[np.int64]
    packets: Iterator[Packet[Any]]


def assemble(output: Output, stream: VideoStream, parts: Sequence[Part], time_base: Fraction) -> None:
    """Mux what `parts` hold, and what the other streams hold up to the same times. Raises OutputError, InputError."""
    pts = np.concatenate([part.pts for part in parts])
    times = decoding_times(pts, reorder_depth(pts))
    with output.guarded():
        for at, packet in enumerate(_all(parts)):
            packet.pts, packet.dts = int(pts[at]), int(times[at])
            packet.time_base, packet.stream = time_base, stream
            output.container.mux_one(packet)
            output.remux.feed(output.container, int(times[at]) * time_base)
        output.remux.feed(output.container, None)


def _all(parts: Sequence[Part]) -> Iterator[Packet[Any]]:
    for part in parts:
        yield from part.packets
