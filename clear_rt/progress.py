"""Progress, on a terminal only: count, rate and remaining time per phase, or the name of what is being done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text

# What is counted where it is not frames: windows of the generative model take steps, in seconds each.
_UNITS = {"generating": "step"}
# Steps of a large model take longer than the 30 s over which rates are averaged by default; a rate needs two of them.
_RATE_SPAN_S = 600.0


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        if task.fields["unit"] == "frame":
            return Text(f"{task.speed:.1f} fps" if task.speed else "- fps")
        return Text(f"{1 / task.speed:.1f} s/{task.fields['unit']}" if task.speed else f"- s/{task.fields['unit']}")


@contextmanager
def bar(
    quiet: bool = False,
    console: Console | None = None,
    clock_s: Callable[[], float] | None = None,
    title: str | None = None,
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A callback (phase, done, total or None) that draws on `console`, and nothing where it is quiet.

    Without a console, on standard error; silent if that is no terminal. `clock_s` replaces the clock behind the rate.
    `title` is a line above.
    """
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda phase, done, total: None
        return
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.fields[all]} {task.fields[unit]}s"),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, get_time=clock_s, speed_estimate_period=_RATE_SPAN_S) as progress:
        tasks: dict[str, TaskID] = {}
        if title is not None:
            progress.console.print(title, markup=False, highlight=False)

        def tell(phase: str, done: int, total: int | None) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total, all=total or "?", unit=_UNITS.get(phase, "frame"))
            progress.update(tasks[phase], completed=done)

        yield tell


@contextmanager
def stages(quiet: bool = False, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """A callback (what is being done) beside a spinner, for work without frames to count; otherwise as `bar`."""
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda stage: None
        return
    with console.status("") as status:
        yield status.update
