"""Progress, on a terminal only: count, rate and remaining time per phase, or the name of what is being done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

# What is counted where it is not frames: windows of the generative model take steps, in seconds each.
_UNITS = {"generating": "step"}
# The two passes over every video; where the first finds no text there is no second.
_PASSES = ("looking for text", "removing")
# Steps of a large model take longer than the 30 s over which rates are averaged by default; a rate needs two of them.
_RATE_SPAN_S = 600.0


class _Count(ProgressColumn):
    """Of all videos the bar is by frames and the number by videos."""

    def render(self, task: Task) -> Text:
        done = task.fields.get("place", 0) if task.fields["unit"] == "video" else round(task.completed)
        return Text(f"{done}/{task.fields['all']} {task.fields['unit']}s")


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "video":
            return Text("")
        if task.fields["unit"] == "frame":
            return Text(f"{task.speed:.1f} fps" if task.speed else "- fps")
        return Text(f"{1 / task.speed:.1f} s/{task.fields['unit']}" if task.speed else f"- s/{task.fields['unit']}")


@contextmanager
def bar(
    quiet: bool = False,
    console: Console | None = None,
    clock_s: Callable[[], float] | None = None,
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A callback (phase, done, total or None) that draws on `console`, and nothing where it is quiet.

    Without a console, on standard error; silent if that is no terminal. `clock_s` replaces the clock behind the rate.
    """
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda phase, done, total: None
        return
    with _progress(console, clock_s) as progress:
        yield _Phases(progress).tell


@contextmanager
def batch_bar(
    names: Sequence[str],
    frames: Callable[[], Sequence[int | None]],
    quiet: bool = False,
    console: Console | None = None,
    clock_s: Callable[[], float] | None = None,
) -> Iterator[Course]:
    """The bars of one video after another, and one of all, by the `frames` of each: None where nobody knows.

    Drawn and silent as `bar`; `frames` is asked for where there is something to draw.
    """
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield Course(names, None, [])
        return
    with _progress(console, clock_s) as progress:
        yield Course(names, progress, frames())


class Course:
    """What `batch_bar` is told: of the video at hand by `tell`, and that it is done by `end`."""

    def __init__(self, names: Sequence[str], progress: Progress | None, frames: Sequence[int | None]) -> None:
        self._names, self._progress, self._place = names, progress, 0
        if progress is not None:
            known = [count for count in frames if count is not None]
            mean = sum(known) / len(known) if known else 1.0
            self._weights = [mean if count is None else float(count) for count in frames]
            self._whole = progress.add_task("all", total=sum(self._weights) or 1, all=str(len(names)), unit="video")
            self._begin()

    def tell(self, phase: str, done: int, total: int | None) -> None:
        """As the callback of `bar`."""
        if self._progress is None:
            return
        self._phases.tell(phase, done, total)
        if phase in _PASSES and total:
            self._shares[phase] = min(1.0, done / total)
            self._move(sum(self._shares.values()) / len(_PASSES))

    def end(self) -> None:
        """The next video begins, if there is one."""
        if self._progress is None:
            return
        self._move(1.0)
        self._phases.remove()
        self._place += 1
        if self._place < len(self._names):
            self._begin()

    def _begin(self) -> None:
        assert self._progress is not None
        self._phases, self._shares = _Phases(self._progress), dict[str, float]()
        title = f"{self._place + 1}/{len(self._names)} {self._names[self._place]}"
        self._progress.console.print(title, markup=False, highlight=False)

    def _move(self, share: float) -> None:
        assert self._progress is not None
        done = sum(self._weights[: self._place]) + share * self._weights[self._place]
        self._progress.update(self._whole, completed=done, place=self._place + (share == 1.0))


class _Phases:
    """A bar for every phase of one video."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def tell(self, phase: str, done: int, total: int | None) -> None:
        if phase not in self._tasks:
            unit = _UNITS.get(phase, "frame")
            self._tasks[phase] = self._progress.add_task(phase, total=total, all=total or "?", unit=unit)
        self._progress.update(self._tasks[phase], completed=done)

    def remove(self) -> None:
        for task in self._tasks.values():
            self._progress.remove_task(task)


def _progress(console: Console, clock_s: Callable[[], float] | None) -> Progress:
    columns = (TextColumn("{task.description:>16}"), BarColumn(), _Count(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=console, get_time=clock_s, speed_estimate_period=_RATE_SPAN_S)


@contextmanager
def stages(quiet: bool = False, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """A callback (what is being done) beside a spinner, for work without frames to count; otherwise as `bar`."""
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda stage: None
        return
    with console.status("") as status:
        yield status.update
