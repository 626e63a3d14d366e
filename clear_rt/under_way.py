"""A run under way: its crops converted on a thread of their own, its frames generated on the thread that asks."""

from __future__ import annotations

from collections.abc import Callable

from clear_rt.canvas import Array
from clear_rt.generate import CropGenerator
from clear_rt.leading import Leading
from clear_rt.regions import RegionRun
from clear_rt.report import Stopwatch
from clear_rt.states import Named, Stored
from clear_rt.threads import Stop, ahead

# Groups of a latent's frames, converted for the engine before it asks.
GROUPS = 2


class UnderWay:
    """The generated frames of `run`, from its first or after a state; close it to end the thread.

    Raises StateError where the state is not of such a run; `next` raises what `CropGenerator.frames` and the crops do.
    """

    def __init__(
        self,
        run: RegionRun,
        ordinal: int,
        generator: CropGenerator,
        leading: Leading,
        watch: Stopwatch,
        stop: Stop,
        called: Callable[[], None],
        state: Stored | None = None,
    ) -> None:
        total_frames = run.stop_frame - run.start_frame
        crops = watch.each(leading.crops(run), "wait to convert")
        converted = watch.each(generator.groups(crops, total_frames, state), "convert crops")
        self._groups = ahead(converted, GROUPS, stop=stop)
        waited = watch.each(self._groups, "wait for crops")
        self._frames = generator.frames(ordinal, waited, total_frames, watch, called, state)

    def __next__(self) -> Array:
        return next(self._frames)

    @property
    def calls(self) -> int:
        """Steps of windows that were taken so far, also before the state."""
        return self._frames.calls

    def state(self) -> Named:
        """As `Generation.state`."""
        return self._frames.state()

    def close(self) -> None:
        self._groups.close()
