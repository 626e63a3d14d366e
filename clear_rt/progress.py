"""Progress, on a terminal only: frames, rate and remaining time per phase, or the name of what is being done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.text import Text


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} fps" if task.speed else "- fps")


@contextmanager
def bar(
    quiet: bool = False, console: Console | None = None, clock_s: Callable[[], float] | None = None
) -> Iterator[Callable[[str, int, int | None], None]]:
    """A callback (phase, frames done, frames in all or None) that draws on `console`, and nothing where it is quiet.

    Without a console, on standard error; silent if that is no terminal. `clock_s` replaces the clock behind the rate.
    """
    console = console or Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda phase, done, total: None
        return
    columns = (
        TextColumn("{task.description:>16}"),
        BarColumn(),
        TextColumn("{task.completed:.0f}/{task.fields[frames]} frames"),
        _Rate(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, get_time=clock_s) as progress:
        tasks: dict[str, TaskID] = {}

        def tell(phase: str, done: int, total: int | None) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total, frames=total or "?")
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
