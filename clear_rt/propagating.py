"""A video's filled frames, each mixed with what the frames before and after it show behind its text.

A forward and a backward pass meet in every frame. The backward one needs frames that come later: it is made once for
every group of frames, from a few frames beyond its end. A group begins where its number says, whatever frame a resumed
run begins with, so that results do not depend on interruptions.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Generic, NamedTuple, TypeVar

from clear_rt.composite import FrameLike
from clear_rt.config import Propagation
from clear_rt.frames import VideoInfo
from clear_rt.grid import Grid
from clear_rt.propagation import Carried, Known, Patch, carry, fill, known
from clear_rt.states import StateError, integers, numbered, packed, unpacked

T = TypeVar("T")

# Of 33 frames, all looked ahead: 0.05 dB more (docs/LOG.md, 2026-11-28).
GROUP_FRAMES, AHEAD_FRAMES = 16, 8
# Source and result of every frame that waits, in 4:2:0; 4:4:4 takes twice as much.
MOST_BYTES = 1 << 27
_PLANES, _ERRORS, _FRAME = "planes", "errors", "frame"


class Reach(NamedTuple):
    """Frames of a group, and how many beyond it are looked at."""

    group_frames: int
    ahead_frames: int


class Filled(NamedTuple, Generic[T]):
    """A frame with its own fill and the patches of its holes; where there are any its planes are writable.

    `item` is what the passes hand on.
    """

    item: T
    frame_index: int
    frame: FrameLike
    patches: Sequence[Patch]


class Foreseen(NamedTuple, Generic[T]):
    """A filled frame, and what the next one shows of each of its patches, where there is a next one."""

    filled: Filled[T]
    later: Sequence[Carried]


def reach_of(info: VideoInfo, propagation: Propagation) -> Reach:
    """As far as memory allows for pictures of this size; where only the past counts nothing is looked ahead."""
    if propagation == "past":
        return Reach(1, 0)
    frame_bytes = 3 * info.width_px * info.height_px * (1 + (info.bit_depth > 8))
    most_frames = MOST_BYTES // frame_bytes
    ahead_frames = max(1, min(AHEAD_FRAMES, most_frames // 3))
    return Reach(max(1, min(GROUP_FRAMES, most_frames - ahead_frames)), ahead_frames)


def foreseen(filled: Iterable[Filled[T]], grid: Grid, reach: Reach) -> Iterator[Foreseen[T]]:
    """The backward pass: the same frames, at most `group_frames` and `ahead_frames` later."""
    frames = iter(filled)
    waiting = deque(islice(frames, 1))
    while waiting:
        stop = (waiting[0].frame_index // reach.group_frames + 1) * reach.group_frames
        waiting.extend(islice(frames, max(0, stop + reach.ahead_frames - 1 - waiting[-1].frame_index)))
        group_frames = sum(one.frame_index < stop for one in waiting)
        for later in _carried_back(waiting, group_frames, grid):
            yield Foreseen(waiting.popleft(), later)
        if not waiting:
            waiting.extend(islice(frames, 1))


def propagated(
    foreseen: Iterable[Foreseen[T]], grid: Grid, before: Known | None, keep: Callable[[int, Known], None]
) -> Iterator[T]:
    """The forward pass: the items of all frames, whose patches are mixed, in place.

    `before` is what the frame before the first one tells, None where there is none. `keep` is told what every frame
    leaves to the next one, whose index comes first.
    """
    for (item, index, frame, patches), later in foreseen:
        earlier = [] if before is None else [carry(before, frame, patch, grid) for patch in patches]
        before = known(frame, patches, earlier, grid)
        samples = [plane.samples for plane in frame.planes]
        for i, patch in enumerate(patches):
            fill(samples, frame.planes, patch, [*earlier[i : i + 1], *later[i : i + 1]], grid)
        keep(index + 1, before)
        yield item


def packed_known(frame: int, before: Known) -> bytes:
    """What the frame before this one tells, for `unpacked_known`."""
    errors = [] if before.errors is None else [before.errors]
    return packed([(_FRAME, integers(frame)), *numbered(_PLANES, before.planes), *numbered(_ERRORS, errors)])


def unpacked_known(data: bytes, frame: int) -> Known:
    """What was packed for this frame. Raises StateError where it is damaged or of another frame."""
    stored = unpacked(data)
    if stored.integer(_FRAME) != frame:
        raise StateError(f"expected what is known before frame {frame}, found frame {stored.integer(_FRAME)}")
    errors = stored.numbered(_ERRORS)
    return Known(tuple(stored.numbered(_PLANES)), errors[0] if errors else None)


def _carried_back(waiting: Sequence[Filled[T]], count: int, grid: Grid) -> list[list[Carried]]:
    """What the frame after each of the first `count` shows of its patches; none of the last of all."""
    found: list[list[Carried]] = [[] for _ in waiting]
    if not any(one.patches for one in islice(waiting, count)):
        return found[:count]
    beside: Known | None = None
    for i in range(len(waiting) - 1, -1, -1):
        one = waiting[i]
        if beside is not None:
            found[i] = [carry(beside, one.frame, patch, grid) for patch in one.patches]
        if i:
            beside = known(one.frame, one.patches, found[i], grid)
    return found[:count]
