"""The commands and their options: parse, make a config, call, and say what was done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from clear_rt import prose
from clear_rt.commands_bench import bench
from clear_rt.commands_burn import burn
from clear_rt.commands_eval import evaluate
from clear_rt.commands_export import build_engine, export
from clear_rt.commands_fetch import fetch
from clear_rt.commands_remove import detect, remove
from clear_rt.console import Told
from clear_rt.option_types import AsJson, BundleFolder, MaxMemory
from clear_rt.version import __version__

app = typer.Typer(name="clear-rt", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


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


app.command()(burn)
app.command()(remove)
app.command()(detect)
app.command(name="eval")(evaluate)
app.command()(export)
app.command()(build_engine)
app.command()(fetch)
app.command()(bench)
