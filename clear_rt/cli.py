"""The command line: parse, make a config, call, report. Every error ends in one sentence and an exit status."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, Any, get_args

import click
import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from clear_rt.config import (
    CompositeConfig,
    CompositeMode,
    EngineName,
    FillMode,
    RegionConfig,
    RunConfig,
    WriteConfig,
)
from clear_rt.errors import ClearError, ConfigError, ExitStatus
from clear_rt.shapes import Box
from clear_rt.version import __version__

app = typer.Typer(
    name="clear-rt",
    help="Removes burned-in subtitles from video, without masks.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Video = Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to read; it is never changed.")]
Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on standard output instead of prose.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Crf = Annotated[int, typer.Option("--crf", help="Quality of re-encoded pictures on x264's scale, 0..51, less is better.")]
Lossless = Annotated[bool, typer.Option("--lossless", help="Encode without loss; --crf is then ignored.")]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out.")
]


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} fps" if task.speed else "- fps")


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[str, int, int | None], None]]:
    """A callback that draws frames, rate and remaining time per phase; silent where standard error is no terminal."""
    console = Console(stderr=True)
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
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def tell(phase: str, done: int, total: int | None) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total, frames=total or "?")
            progress.update(tasks[phase], completed=done)

        yield tell


def _choice(name: str, value: str, kind: Any) -> Any:  # noqa: ANN401 - a Literal type and one of its values
    if value not in get_args(kind):
        raise ConfigError(f"--{name} must be one of {', '.join(get_args(kind))}, got {value!r}")
    return value


def _region(text: str) -> RegionConfig:
    if text in ("auto", "full"):
        return RegionConfig(mode="auto" if text == "auto" else "full")
    try:
        x, y, width, height = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"--region must be auto, full or x,y,w,h in pixels, got {text!r}") from None
    if min(x, y) < 0 or min(width, height) < 1:
        raise ConfigError(f"--region x,y,w,h needs x, y >= 0 and w, h >= 1, got {text!r}")
    return RegionConfig(mode="fixed", box=Box(x, y, width, height))


def _say(text: str) -> None:
    typer.echo(text)


@app.command()
def remove(
    video: Video,
    output: Output,
    region: Annotated[str, typer.Option(help="auto, full, or x,y,w,h: where text is removed.")] = "auto",
    composite: Annotated[str, typer.Option(help=f"{', '.join(get_args(CompositeMode))}.")] = CompositeConfig().mode,
    fill: Annotated[str, typer.Option(help=f"{', '.join(get_args(FillMode))}.")] = CompositeConfig().fill,
    engine: Annotated[str, typer.Option(help=f"{', '.join(get_args(EngineName))}.")] = RunConfig().engine,
    bundle: BundleFolder = None,
    seed: Seed = RunConfig().seed,
    crf: Crf = WriteConfig().crf,
    lossless: Lossless = False,
    preview: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A few frames: source, map, result.")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE.mp4", help="Source and result side by side.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the subtitles of VIDEO and remove them."""
    config = RunConfig(
        region=_region(region),
        composite=CompositeConfig(
            mode=_choice("composite", composite, CompositeMode), fill=_choice("fill", fill, FillMode)
        ),
        write=WriteConfig(crf=crf, lossless=lossless),
        engine=_choice("engine", engine, EngineName),
        bundle=bundle,
        seed=seed,
    )
    from clear_rt.preview import watching
    from clear_rt.remover import Remover

    remover = Remover(config)
    with ExitStack() as stack:
        observe = stack.enter_context(watching(video, output, preview, compare))
        tell = stack.enter_context(_bar(as_json))
        report = remover(video, output, tell, observe)
    if as_json:
        _say(json.dumps(report.as_dict()))
        return
    for stream in report.dropped_streams:
        typer.echo(f"clear-rt: {stream}", err=True)
    if report.video_copied:
        _say(f"{output}: no text found in {report.frames} frames; all streams copied as they are ({report.seconds:.1f} s)")
        return
    _say(
        f"{output}: text removed from {report.frames_changed} of {report.frames} frames in {len(report.runs)} "
        f"region run(s); {report.seconds:.1f} s, {report.fps:.1f} fps, {report.encoder}, fill {report.fill}"
    )


@app.command()
def info(
    video: Annotated[Path | None, typer.Argument(metavar="[VIDEO]", help="A video to describe.")] = None,
    bundle: BundleFolder = None,
    as_json: AsJson = False,
) -> None:
    """Say what is installed, what the bundle holds and, with VIDEO, what it is made of."""
    from clear_rt.inventory import inventory

    facts = inventory(video, bundle)
    if as_json:
        _say(json.dumps(facts))
        return
    for heading, rows in facts.items():
        table = Table("name", "value", title=heading, title_justify="left", show_header=False, box=None)
        for name, value in rows.items():
            table.add_row(name, str(value))
        Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; `--version` and `--help` return 0."""
    debug = bool(os.environ.get("CLEAR_RT_DEBUG"))
    try:
        result = app(args=arguments, standalone_mode=False, prog_name="clear-rt")
        return result if isinstance(result, int) else ExitStatus.OK
    except ClearError as error:
        if debug:
            raise
        typer.echo(f"clear-rt: {error}", err=True)
        return error.status
    except click.ClickException as error:
        typer.echo(f"clear-rt: {error.format_message()}", err=True)
        return ExitStatus.USAGE
    except (KeyboardInterrupt, click.Abort):
        typer.echo("clear-rt: interrupted; nothing was written", err=True)
        return ExitStatus.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
