"""`clear-rt fetch`: options to a config, a plan, a question, and the files."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from clear_rt.console import Told, warn
from clear_rt.errors import ConfigError
from clear_rt.export.fetch_config import WAN, FetchConfig
from clear_rt.models.sources import HubId

if TYPE_CHECKING:
    from clear_rt.export.fetch import Part, PlannedFile

NO_LORA = "no LoRA is fetched, as no repository of CLEAR's is known; give --lora OWNER/NAME if you have one"


def fetch(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder of the files; one that commands find by name if left out."
        ),
    ] = None,
    repository: Annotated[str, typer.Option(metavar="OWNER/NAME[@REVISION]", help="The base model.")] = str(WAN),
    revision: Annotated[
        str | None, typer.Option(help="Branch, tag or commit of the base model; its main branch if left out.")
    ] = None,
    lora: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME[@REVISION]", help="CLEAR's LoRA; no repository of it is known by default."),
    ] = None,
    lora_file: Annotated[str | None, typer.Option(metavar="NAME", help="The LoRA's file, of several.")] = None,
    text_encoder: Annotated[
        bool, typer.Option("--text-encoder", help="Also fetch what encodes prompts, 11 GB, and its tokenizer.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Fetch without asking.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files and their sizes; write nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of prose.")] = False,
) -> Told:
    """Fetch the base model and a LoRA from the Hugging Face hub; a second run goes on where one stopped."""
    config = FetchConfig(
        weights=_base(repository, revision),
        lora=None if lora is None else HubId.parse(lora),
        lora_file=lora_file,
        folder=output,
        text_encoder=text_encoder,
    )
    # The hub's client would otherwise ask the hub what runs it, and write the answer beside its cache.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    # Its remarks would stand between ours.
    os.environ.setdefault("HF_HUB_VERBOSITY", "error")
    try:
        from clear_rt.export import fetch as fetching
    except ImportError as error:
        raise ConfigError(
            f"clear-rt fetch needs {error.name}, which is not installed; run pip install 'clear-rt[export]'"
        ) from error
    parts = fetching.plan(config)
    if not dry_run:
        fetching.check_space(parts)
        _ask(parts, yes)
        with _bar(quiet=as_json) as tell:
            fetching.fetch(parts, tell)
    if lora is None:
        warn(NO_LORA)
    said = json.dumps(_described(parts)) if as_json else "\n".join(_lines(parts, dry_run))
    return Told(said, "everything is fetched, but the report on it")


def _base(repository: str, revision: str | None) -> HubId:
    hub = HubId.parse(repository)
    if revision is None:
        return hub
    if hub.revision is not None:
        raise ConfigError(f"--repository {hub} names a revision, and so does --revision {revision}; leave one out")
    return HubId(hub.repository, revision)


def _ask(parts: list[Part], yes: bool) -> None:
    missing = sum(part.download_bytes for part in parts)
    if yes or not missing:
        return
    if sys.stdin is None or not sys.stdin.isatty():
        raise ConfigError(f"{decimal(missing)} are to be fetched, and there is no terminal to ask on; give --yes")
    typer.echo("\n".join(_lines(parts, planned=True)), err=True)
    typer.echo(f"Fetch {decimal(missing)}? [y/N] ", nl=False, err=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ConfigError("nothing was fetched, as the answer was no")


def _lines(parts: list[Part], planned: bool) -> Iterator[str]:
    """Each repository with its folder; before it is fetched also its files."""
    for part in parts:
        count = f"{len(part.files)} file{'s' * (len(part.files) != 1)}"
        yield f"{part.folder}: {part.listing}, {count}, {decimal(part.size_bytes)}"
        for entry in part.files if planned else ():
            yield f"  {decimal(entry.file.size_bytes):>9}  {entry.file.name}{_state(entry)}"
    if planned:
        missing = sum(part.download_bytes for part in parts)
        yield f"{decimal(sum(part.size_bytes for part in parts))} in all, {decimal(missing)} to fetch"


def _state(entry: PlannedFile) -> str:
    if entry.there:
        return " (there)"
    return " (in the cache)" if entry.cached is not None else ""


def _described(parts: list[Part]) -> dict[str, Any]:
    return {
        "folders": [
            {
                "folder": str(part.folder),
                "repository": part.listing.hub.repository,
                "revision": part.listing.hub.revision,
                "commit": part.listing.commit,
                "files": {entry.file.name: entry.file.size_bytes for entry in part.files},
            }
            for part in parts
        ],
        "bytes": sum(part.size_bytes for part in parts),
        "bytes_to_fetch": sum(part.download_bytes for part in parts),
    }


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """A callback (file, bytes so far, bytes) that draws on standard error, where that is a terminal."""
    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield lambda name, done_bytes, size_bytes: None
        return
    columns = (
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    )  # fmt: skip
    with Progress(*columns, console=console) as progress:
        tasks: dict[str, Any] = {}

        def tell(name: str, done_bytes: int, size_bytes: int) -> None:
            if name not in tasks:
                tasks[name] = progress.add_task(name, total=size_bytes)
            progress.update(tasks[name], completed=done_bytes)

        yield tell
