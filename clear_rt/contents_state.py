"""What is held of all runs under way between two frames of a video, as bytes, and whether it is of the same job."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from clear_rt.crops import Placement, place
from clear_rt.frames import VideoInfo
from clear_rt.generate import CropGenerator
from clear_rt.generation import encoder_state
from clear_rt.regions import RegionRun
from clear_rt.restart import Restartable
from clear_rt.shapes import Size
from clear_rt.states import Named, StateError, Stored, integers, packed, require, unpacked, within
from clear_rt.under_way import UnderWay

KeepState = Callable[[int, bytes], None]


class Start(NamedTuple):
    """Where contents begin: with `first_frame`, its crops with `first_crop`, and runs under way there as `states` say.

    Without states runs under way are generated once more. With them it holds their bytes: let it go once it was used.
    """

    first_frame: int = 0
    first_crop: int = 0
    states: Mapping[RegionRun, Stored] = MappingProxyType({})

    def first_generated(self, runs: Iterable[RegionRun]) -> int:
        """The first frame that any of all runs has to be generated of."""
        again = (run.start_frame for run in under_way_at(runs, self.first_frame) if run not in self.states)
        return min((*again, self.first_frame))

    def first_crop_of(self, run: RegionRun, generator: CropGenerator) -> int:
        """The first frame whose crop of that run is still needed."""
        if run not in self.states:
            return run.start_frame
        return run.start_frame + generator.first_crop(run.stop_frame - run.start_frame, self.states[run])


def start_of(
    generator: CropGenerator,
    info: VideoInfo,
    runs: Sequence[RegionRun],
    first_frame: int,
    state: bytes | None = None,
) -> Start:
    """Where contents of all `runs` of a video begin if `first_frame` is the first one wanted.

    Raises StateError where the state before that frame is damaged, or of anything else.
    """
    states = (
        {} if state is None else ContentsState(generator, placements_of(generator, info, runs)).read(state, first_frame)
    )
    start = Start(first_frame, first_frame, states)
    wanted = [run for run in runs if run.stop_frame > first_frame]
    crops = [start.first_crop_of(run, generator) for run in wanted]
    needed = [crop for crop, run in zip(crops, wanted, strict=True) if crop < run.stop_frame]
    nothing = max((run.stop_frame for run in runs), default=0)
    return start._replace(first_crop=min(needed, default=nothing))


def placements_of(generator: CropGenerator, info: VideoInfo, runs: Iterable[RegionRun]) -> dict[RegionRun, Placement]:
    """Where the crops of runs lie, in the runs' order."""
    spec, picture = generator.spec, Size(info.width_px, info.height_px)
    return {run: place(run.box, picture, spec.multiple_px, spec.max_pixels, spec.profiles) for run in runs}


def under_way_at(runs: Iterable[RegionRun], frame: int) -> list[RegionRun]:
    """The runs that began before a frame and go on with it."""
    return [run for run in runs if run.start_frame < frame < run.stop_frame]


class ContentsState:
    """Of the runs of one video, in the order of their ordinals, by one generator."""

    def __init__(self, generator: CropGenerator, placements: Mapping[RegionRun, Placement]) -> None:
        self._spec, self._placements = generator.spec, placements
        self._restartable = isinstance(generator.side, Restartable)
        said = f"{generator.signature}; {[*placements.items()]}"
        self._key = np.frombuffer(hashlib.sha256(said.encode()).digest(), np.uint8)

    def packed(self, frame: int, under_way: Mapping[RegionRun, UnderWay]) -> bytes | None:
        """The state before a frame; None where the engine cannot be restarted."""
        return packed(self._named(frame, under_way)) if self._restartable else None

    def _named(self, frame: int, under_way: Mapping[RegionRun, UnderWay]) -> Named:
        yield "key", self._key
        yield "frame", integers(frame)
        for run, generating in under_way.items():
            yield from within(self._name(run), generating.state())

    def read(self, state: bytes, frame: int) -> dict[RegionRun, Stored]:
        """The states of the runs under way at a frame. Raises StateError where they are of anything else."""
        require(self._restartable, "this engine cannot take up a state")
        stored = unpacked(state)
        if not np.array_equal(stored.array("key", self._key.shape, np.uint8), self._key):
            raise StateError("the state is of another job: other runs, options, engine or bundle")
        require(stored.integer("frame") == frame, f"the state is of another frame than {frame}")
        parts = {run: stored.part(self._name(run)) for run in under_way_at(self._placements, frame)}
        for run, part in parts.items():
            profile, px = self._placements[run].profile, self._spec.latent_px
            expected = [self._spec.latent_channels, profile.height_px // px, profile.width_px // px]
            require(encoder_state(part).integers("shape", 3) == expected, "the state is of latents of another size")
        return parts

    def _name(self, run: RegionRun) -> str:
        return f"run.{list(self._placements).index(run)}"
