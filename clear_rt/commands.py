"""The commands and their options: parse, make a config, call, and say what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clear_rt import prose
from clear_rt.burn.config import BurnConfig, Position, ScriptName, StyleName
from clear_rt.commands_bench import bench
from clear_rt.commands_export import build_engine, export
from clear_rt.commands_fetch import fetch
from clear_rt.commands_remove import detect, remove
from clear_rt.config import WriteConfig
from clear_rt.console import Told, warn
from clear_rt.option_types import AsJson, BundleFolder, Crf, Lossless, MaxMemory, Output
from clear_rt.progress import bar
from clear_rt.version import __version__

app = typer.Typer(name="clear-rt", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

WRITE, BURN = WriteConfig(), BurnConfig()


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
) -> Told:
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
    # The same file on every machine, with a GPU or without.
    write = WriteConfig(crf=crf, lossless=lossless, encoder="cpu")
    with bar() as tell:
        report = draw(
            clean, output, config, mask=mask, write_config=write, progress=lambda done: tell("burning", done, None)
        )
    warn(*report.dropped_streams)
    if report.missing_characters:
        warn(f"no font at hand shows {report.missing_characters}; give --font FILE")
    return Told(
        f"{output}: {report.captions} captions on {report.frames_with_text} of {report.frames} frames",
        f"{output} is complete, but the report on it",
    )


@app.command(name="eval")
def evaluate(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="A video that text was removed from.")],
    clean: Annotated[Path, typer.Option(metavar="CLEAN", help="The same video before text was burned in.")],
    source: Annotated[Path | None, typer.Option(metavar="SUBTITLED", help="The subtitled video.")] = None,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="The mask that `burn --mask` wrote.")] = None,
    every_frames: Annotated[int, typer.Option(help="Look for text and measure SSIM on every n-th frame.")] = 10,
    as_json: AsJson = False,
) -> Told:
    """Compare RESULT with CLEAN: PSNR over the frame, inside and outside the text; text found before and after."""
    from clear_rt.metrics.evaluate import evaluate as measure

    with bar(quiet=as_json) as tell:
        found = measure(
            result, clean, source, mask, every_frames=every_frames, progress=lambda done: tell("comparing", done, None)
        ).as_dict()
    return Told(json.dumps(found) if as_json else prose.scores(found))


@app.command()
def info(
    video: Annotated[Path | None, typer.Argument(metavar="[VIDEO]", help="A video to describe.")] = None,
    bundle: BundleFolder = None,
    plan: Annotated[
        str | None,
        typer.Option(
            metavar="WxH[xFRAMES]",
            help="Plan the memory that the engine cuda takes for a region of that size, or for a profile of bench.",
        ),
    ] = None,
    max_memory: MaxMemory = None,
    as_json: AsJson = False,
) -> Told:
    """Say what is installed, what the bundle holds and, with VIDEO, what it is made of."""
    from clear_rt.inventory import inventory

    found = inventory(video, bundle, plan, max_memory)
    if as_json:
        return Told(json.dumps(found))
    planned = found.pop("memory_plan", None)
    return Told(prose.facts(found) if planned is None else f"{prose.facts(found)}\n{prose.memory(planned)}")


app.command()(remove)
app.command()(detect)
app.command()(export)
app.command()(build_engine)
app.command()(fetch)
app.command()(bench)
