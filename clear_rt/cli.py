"""The command line: parse, make a config, call, report. Every error ends in one sentence and an exit status."""

from __future__ import annotations

import json
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.exceptions
from rich.console import Console
from rich.table import Table

from clear_rt.burn.config import BurnConfig, Position, ScriptName, StyleName
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
from clear_rt.progress import bar
from clear_rt.report import Report
from clear_rt.shapes import Box
from clear_rt.version import __version__

app = typer.Typer(
    name="clear-rt",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RUN, COMPOSITE, WRITE, BURN = RunConfig(), CompositeConfig(), WriteConfig(), BurnConfig()

Output = Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where the result goes.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document instead of prose.")]
Crf = Annotated[int, typer.Option(help="Quality of re-encoded pictures on x264's scale: 0 to 51, less is better.")]
Lossless = Annotated[bool, typer.Option("--lossless", help="Encode without loss; --crf is then ignored.")]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="A bundle's folder; the embedded clear-tiny if left out.")
]


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"clear-rt {__version__}")
        raise typer.Exit


@app.callback()
def clear_rt(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Removes burned-in subtitles from video, without masks."""


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


def _warn(sentences: tuple[str, ...]) -> None:
    for sentence in sentences:
        typer.echo(f"clear-rt: {sentence}", err=True)


@app.command()
def remove(
    video: Annotated[Path, typer.Argument(metavar="VIDEO", help="The video to read; it is never changed.")],
    output: Output,
    region: Annotated[str, typer.Option(help="Where text is removed: auto, full, or x,y,w,h in pixels.")] = "auto",
    composite: Annotated[CompositeMode, typer.Option(help="How a fill meets the source.")] = COMPOSITE.mode,
    fill: Annotated[FillMode, typer.Option(help="What fills the place of the text.")] = COMPOSITE.fill,
    engine: Annotated[EngineName, typer.Option(help="What runs the networks.")] = RUN.engine,
    bundle: BundleFolder = None,
    seed: Annotated[int, typer.Option(help="Seed of the generative fill.")] = RUN.seed,
    crf: Crf = WRITE.crf,
    lossless: Lossless = False,
    preview: Annotated[Path | None, typer.Option(metavar="FILE.png", help="A few frames: source, map, result.")] = None,
    compare: Annotated[Path | None, typer.Option(metavar="FILE.mp4", help="Source and result side by side.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the subtitles of VIDEO and remove them."""
    config = RunConfig(
        region=_region(region),
        composite=CompositeConfig(mode=composite, fill=fill),
        write=WriteConfig(crf=crf, lossless=lossless),
        engine=engine,
        bundle=bundle,
        seed=seed,
    )
    from clear_rt.preview import watching
    from clear_rt.remover import Remover

    remover = Remover(config)
    with ExitStack() as stack:
        observe = stack.enter_context(watching(video, output, preview, compare))
        tell = stack.enter_context(bar(quiet=as_json))
        report = remover(video, output, tell, observe)
    _warn(report.dropped_streams)
    typer.echo(json.dumps(report.as_dict()) if as_json else _summary(report))


def _summary(report: Report) -> str:
    speed = f"{report.seconds:.1f} s, {report.fps:.1f} fps"
    if report.video_copied:
        return f"{report.target}: no text found in {report.frames} frames, every stream copied as it is; {speed}"
    return (
        f"{report.target}: text removed from {report.frames_changed} of {report.frames} frames, "
        f"{len(report.runs)} region run{'s' * (len(report.runs) != 1)}, fill {report.fill}, {report.encoder}; {speed}"
    )


@app.command()
def burn(
    clean: Annotated[Path, typer.Argument(metavar="CLEAN", help="A video without subtitles.")],
    output: Output,
    subtitles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines from .srt or .ass; random if left out.")
    ] = None,
    script: Annotated[ScriptName, typer.Option(help="Script of random lines.")] = BURN.script,
    style: Annotated[StyleName, typer.Option(help="Look of the lines.")] = BURN.style,
    position: Annotated[Position, typer.Option(help="Edge of the picture.")] = BURN.position,
    size: Annotated[float | None, typer.Option(help="Font size as a share of the picture's height.")] = None,
    font: Annotated[Path | None, typer.Option(metavar="FILE", help="A font instead of those found by script.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="Write the true mask as gray video.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of lines and look.")] = BURN.seed,
    crf: Crf = WRITE.crf,
    lossless: Lossless = False,
) -> None:
    """Draw subtitles into CLEAN, for `remove` and `eval` to be tried on."""
    from clear_rt.burn.video import burn as draw

    config = BurnConfig(
        script=script,
        seed=seed,
        size_share=size,
        position=position,
        style=style,
        font=font,
        subtitles=subtitles,
    )
    write = WriteConfig(crf=crf, lossless=lossless)
    with bar() as tell:
        report = draw(
            clean, output, config, mask=mask, write_config=write, progress=lambda done: tell("burning", done, None)
        )
    _warn(report.dropped_streams)
    if report.missing_characters:
        _warn((f"no font at hand shows {report.missing_characters}; give --font FILE",))
    typer.echo(f"{output}: {report.captions} captions on {report.frames_with_text} of {report.frames} frames")


@app.command(name="eval")
def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A video that text was removed from.")],
    clean: Annotated[Path, typer.Option(metavar="CLEAN", help="The same video before text was burned in.")],
    source: Annotated[Path | None, typer.Option(metavar="SUBTITLED", help="The subtitled video.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="The mask that `burn --mask` wrote.")] = None,
    every_frames: Annotated[int, typer.Option(help="Look for text and measure SSIM on every n-th frame.")] = 10,
    as_json: AsJson = False,
) -> None:
    """Compare RESULT with CLEAN: PSNR over the frame, inside and outside the text; text found before and after."""
    from clear_rt.metrics.evaluate import evaluate as measure

    with bar(quiet=as_json) as tell:
        found = measure(
            result, clean, source, mask, every_frames=every_frames, progress=lambda done: tell("comparing", done, None)
        ).as_dict()
    if as_json:
        typer.echo(json.dumps(found))
        return
    table = Table("", "PSNR dB", "inside", "outside", "SSIM", "text found", box=None)
    for name in ("source", "result"):
        score = found[name]
        if score is not None:
            decibels = (_figure(score["psnr"][key], 2) for key in ("frame_db", "inside_db", "outside_db"))
            table.add_row(name, *decibels, _figure(score["ssim"], 4), _figure(score["frames_with_text"], 3))
    table.add_row("clean", "", "", "", "", _figure(found["clean_frames_with_text"], 3))
    Console().print(table)
    changed = found["pixels_changed_outside"]
    typer.echo(f"{found['frames']} frames; mask: {found['mask']}; pixels changed outside it: {_figure(changed, 0)}")


def _figure(value: float | str | None, digits: int) -> str:
    return "-" if value is None else value if isinstance(value, str) else f"{value:.{digits}f}"


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
        typer.echo(json.dumps(facts))
        return
    for heading, rows in facts.items():
        table = Table("name", "value", title=heading, title_justify="left", show_header=False, box=None)
        for name, value in rows.items():
            table.add_row(name, str(value))
        Console().print(table)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status. CLEAR_RT_DEBUG=1 shows where an error came from."""
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        result: Any = app(args=arguments or ["--help"], standalone_mode=False, prog_name="clear-rt")
    except ClearError as error:
        if os.environ.get("CLEAR_RT_DEBUG"):
            raise
        _warn((str(error),))
        return error.status
    except typer.exceptions.TyperException as error:
        _warn((error.format_message(),))
        return ExitStatus.USAGE
    except KeyboardInterrupt:
        result = ExitStatus.INTERRUPTED
    # Typer turns an interrupt inside a command into this status by itself, and says nothing.
    if result == ExitStatus.INTERRUPTED:
        _warn(("interrupted; nothing was written",))
    if not arguments:
        return ExitStatus.USAGE
    return result if isinstance(result, int) else ExitStatus.OK


if __name__ == "__main__":
    sys.exit(main())
