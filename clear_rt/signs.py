"""Signs: what looks like text and stays the same for long, such as logos, score boxes and letters of a still scene.

Pieces of evidence are followed by what they look like, not by where they are: captions that follow one another at one
place are all of them new.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from clear_rt.config import RegionConfig
from clear_rt.regions import RegionRun, Scan, merge_runs, without
from clear_rt.regions_blobs import find_blobs
from clear_rt.shapes import Box, Size, grow, rescale
from clear_rt.signs_crawling import CrawlFinder, Glimpse
from clear_rt.signs_strokes import Detail, Strokes, detail_of

# Likeness to strokes seen before, on twelve clips of moving scenes, coded coarsely: of other lines at the same place
# 0.05, the highest of 2,538 looks 0.32; of the same text and logos 0.99, of 99 in 100 looks above 0.50.
_SAME, _GONE = 0.4, 0.2
# How long scans may be in doubt: something of the logo's own brightness passes behind it.
_DOUBT_US = 2_000_000
# How long a sign may be gone: about a shot. What is decided later has been handed on.
_RETURN_US = 4_000_000
# Hardly a caption is shorter; two looks at what crawls are alike by chance now and then, five are not.
_LASTING_US = 800_000
# What evidence reaches beyond the strokes, and a matte beyond evidence, at working size.
_MARGIN_PX = 8
# More than any picture holds at once.
_MOST_PIECES = 64


@dataclass(slots=True)
class _Piece:
    """Something followed since `since_us`, in `evidence` then; `stop_frame` is the first that did not show it, if any.

    The `box` of a sign is final.
    """

    strokes: Strokes
    evidence: Box
    start_frame: int
    since_us: int
    seen_us: int
    stop_frame: int | None = None
    box: Box | None = None

    @property
    def is_sign(self) -> bool:
        return self.box is not None

    @property
    def lasts(self) -> bool:
        """Whether it was seen for longer than by chance."""
        return self.seen_us - self.since_us >= _LASTING_US

    def run(self, total_frames: int) -> RegionRun:
        """What became of a sign, in a video of so many frames."""
        assert self.box is not None
        return RegionRun(self.start_frame, total_frames if self.stop_frame is None else self.stop_frame, self.box)


class SignFinder:
    """Takes scans in the order of the video with their working pictures, and knows what was a sign.

    A piece of evidence is a sign once it has looked the same for `sign_us`, with doubts for `_DOUBT_US` at most: from
    the first scan that saw it on, until the first that no longer does. Where it is back within `_RETURN_US` it was
    there all the time, hidden by a scene that looks like it. What changes in its smaller part, as a clock does, is the
    same for all that. Evidence that stays for `sign_us` and never looks the same is a sign, too: something crawls. At
    most `_MOST_PIECES` pieces are followed at once.
    """

    def __init__(self, config: RegionConfig, picture: Size, working: Size) -> None:
        self._config, self._picture, self._working = config, picture, working
        self._enter_level = ceil(255 * config.enter_probability)
        self._stay_level = ceil(255 * config.stay_probability)
        self._return_us = min(_RETURN_US, config.sign_us)
        self._crawling = CrawlFinder(config.sign_us, config.bridge_us)
        self._pieces: list[_Piece] = []
        self._ended: list[RegionRun] = []
        self._recent: list[RegionRun] = []
        self._next_frame = 0

    def add(self, scan: Scan, rgb: NDArray[np.uint8]) -> None:
        """`rgb` uint8 [h, w, 3] is what the scan's map was made of."""
        occlusion = without(scan.occlusion, self._config.keep, self._picture)
        if self._pieces or int(occlusion.max(initial=0)) >= self._enter_level:
            detail = detail_of(rgb)
            glimpses = self._look_again(detail, scan)
            self._begin(detail, occlusion, scan)
            self._promote(scan.time_us)
            lasting = [self._box(piece) for piece in self._pieces if piece.lasts and not piece.is_sign]
            self._end(self._crawling.add(glimpses, lasting, scan.index, scan.time_us))
        self._next_frame = scan.index + 1

    def finish(self, end_us: int) -> None:
        """What the last scan saw was there until then, when the video ends."""
        self._promote(end_us)

    def boxes_at(self, frame: int) -> list[Box]:
        """Of the signs in a frame index, in pixels of the working picture; to be asked for growing ones."""
        self._recent = [sign for sign in self._recent if sign.stop_frame > frame]
        live = self._live(frame + 1)
        return [sign.box for sign in self._recent + live if sign.start_frame <= frame < sign.stop_frame]

    def signs(self, total_frames: int) -> list[RegionRun]:
        """All of a video of so many frames, in pixels of its upright picture; those that touch are one."""
        found = [
            RegionRun(sign.start_frame, stop, rescale(sign.box, self._working, self._picture))
            for sign in self._ended + self._live(total_frames)
            if sign.start_frame < (stop := min(sign.stop_frame, total_frames))
        ]
        return merge_runs(found)

    def _live(self, total_frames: int) -> list[RegionRun]:
        return [piece.run(total_frames) for piece in self._pieces if piece.is_sign] + self._crawling.signs(total_frames)

    def _end(self, signs: list[RegionRun]) -> None:
        self._ended += signs
        self._recent += signs

    def _look_again(self, detail: Detail, scan: Scan) -> list[Glimpse]:
        """Takes the scan for the pieces that it shows, and ends others where it is too late for them to come back.

        Returns those that the scan before was the only one to see.
        """
        pieces, self._pieces = self._pieces, []
        glimpses = []
        for piece in pieces:
            likeness = piece.strokes.likeness(detail)
            if likeness >= _SAME:
                piece.strokes.take(detail)
                piece.seen_us, piece.stop_frame = scan.time_us, None
            elif piece.stop_frame is None:
                piece.stop_frame = scan.index
            if piece.seen_us == piece.since_us:
                glimpses.append(Glimpse(self._grown(piece.evidence), piece.start_frame, piece.since_us))
                continue
            patience_us = self._return_us if piece.is_sign else _DOUBT_US if likeness >= _GONE else 0
            if piece.strokes.is_one_thing and scan.time_us - piece.seen_us <= patience_us:
                self._pieces.append(piece)
            elif piece.is_sign:
                self._end([piece.run(scan.index)])
        return glimpses

    def _begin(self, detail: Detail, occlusion: NDArray[np.uint8], scan: Scan) -> None:
        """Makes a piece of all evidence that lies in none, and forgets what was begun while a piece was not seen."""
        rest, boxes, pieces = occlusion.copy(), list[Box](), list[_Piece]()
        for piece in self._pieces:
            box = self._box(piece)
            if piece.is_sign or not any(other.union(box) == other for other in boxes):
                pieces.append(piece)
                if piece.stop_frame is None:
                    rest[box.slices] = 0
                    boxes.append(box)
        self._pieces = pieces
        weak = rest >= self._stay_level
        for blob in find_blobs(rest, self._enter_level, self._stay_level):
            strokes = Strokes.seen(detail, weak, blob.box) if blob.confident else None
            if strokes is not None and len(self._pieces) < _MOST_PIECES:
                self._pieces.append(_Piece(strokes, blob.box, self._next_frame, scan.time_us, scan.time_us))

    def _promote(self, now_us: int) -> None:
        for piece in self._pieces:
            if piece.stop_frame is None and not piece.is_sign and now_us - piece.since_us >= self._config.sign_us:
                piece.box = self._box(piece)

    def _box(self, piece: _Piece) -> Box:
        """Of its strokes with a margin, and of the evidence where that is but a figure or two more, as of a clock."""
        if piece.box is not None:
            return piece.box
        box = piece.strokes.box
        reach = grow(box, max(box.height_px, _MARGIN_PX), _MARGIN_PX, self._working)
        if reach.union(piece.evidence) == reach:
            box = box.union(piece.evidence)
        return self._grown(box)

    def _grown(self, box: Box) -> Box:
        return grow(box, _MARGIN_PX, _MARGIN_PX, self._working)
