"""`clear-rt burn`: options to a config and one call."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, cast, get_args

import typer

from clear_rt.burn.config import BurnConfig, ScriptName, StyleName
from clear_rt.burn.damage.damage import KINDS
from clear_rt.burn.recipe import NegativeName, Position, Removes, RendererName
from clear_rt.burn.timing import TimingName
from clear_rt.config import WriteConfig
from clear_rt.console import Told, warn
from clear_rt.option_types import Crf, Lossless, Output
from clear_rt.progress import bar

WRITE, BURN = WriteConfig(), BurnConfig()


def burn(
    clean: Annotated[Path, typer.Argument(metavar="CLEAN", help="A video without subtitles.")],
    output: Output,
    subtitles: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Lines from .srt or .ass; random if left out.")
    ] = None,
    script: Annotated[
        ScriptName, typer.Option(help="Script of random lines; mix: zh, en, ja, ko, ru and ar.")
    ] = BURN.script,
    style: Annotated[
        StyleName, typer.Option(help="Look of the lines; random: one of the plain ones, any: one of all.")
    ] = BURN.style,
    timing: Annotated[TimingName, typer.Option(help="How long random lines stay, and how close.")] = BURN.timing,
    position: Annotated[Position, typer.Option(help="Edge of the picture.")] = BURN.position,
    size: Annotated[float | None, typer.Option(help="Font size as a share of the picture's height.")] = None,
    font: Annotated[Path | None, typer.Option(metavar="FILE", help="A font instead of those found by script.")] = None,
    renderer: Annotated[
        RendererName, typer.Option(help="What draws letters; libass through an ffmpeg on PATH.")
    ] = BURN.renderer,
    negatives: Annotated[
        str,
        typer.Option(
            metavar="NAME[,NAME]",
            help=f"Overlays beside the lines: {', '.join(get_args(NegativeName))}.",
        ),
    ] = "",
    scene_texts: Annotated[int, typer.Option(help="Pieces of lettering that move with the scene.")] = BURN.scene_texts,
    removes: Annotated[
        Removes, typer.Option(help="What MASK.mkv holds and the twin lacks: the lines, or every overlay.")
    ] = BURN.removes,
    damage: Annotated[
        str,
        typer.Option(
            metavar="NAME[=VALUE][,...]",
            help=f"What the video goes through afterwards: none, any, or of {', '.join(KINDS)}; values by seed.",
        ),
    ] = BURN.damage,
    mask: Annotated[Path | None, typer.Option(metavar="MASK.mkv", help="Write the true mask as gray video.")] = None,
    twin: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the video without what is to be removed, with the same damage."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of lines, look, overlays and damage.")] = BURN.seed,
    crf: Crf = WRITE.crf,
    lossless: Lossless = False,
) -> Told:
    """Draw subtitles into CLEAN, for `remove` and `eval` to be tried on."""
    config = BurnConfig(
        script=script,
        seed=seed,
        size_share=size,
        position=position,
        style=style,
        font=font,
        subtitles=subtitles,
        timing=timing,
        renderer=renderer,
        # The config looks at the names.
        negatives=cast("tuple[NegativeName, ...]", tuple(filter(None, map(str.strip, negatives.split(","))))),
        scene_texts=scene_texts,
        removes=removes,
        damage=damage,
    )
    from clear_rt.burn.video import burn as draw

    # The same file on every machine, with a GPU or without.
    write = WriteConfig(crf=crf, lossless=lossless, encoder="cpu")
    with bar() as tell:
        report = draw(
            clean,
            output,
            config,
            mask=mask,
            twin=twin,
            write_config=write,
            progress=lambda done: tell("burning", done, None),
        )
    warn(*report.dropped_streams)
    if report.missing_characters:
        warn(f"no font at hand shows {report.missing_characters}; give --font FILE")
    return Told(
        f"{output}: {report.captions} captions on {report.frames_with_text} of {report.frames} frames",
        f"{output} is complete, but the report on it",
    )
