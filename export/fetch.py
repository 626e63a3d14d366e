"""Weights from the Hugging Face hub into folders that `find_weights` reads as they are: a plan, then the files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from clear_rt.errors import OutputError, WeightsError
from clear_rt.export.fetch_config import FetchConfig
from clear_rt.export.fetch_file import cached_file, fetch_file, is_same, partial_file
from clear_rt.export.fetch_listing import Listing, listing
from clear_rt.export.fetch_wanted import some, wanted_adapter, wanted_weights
from clear_rt.models.fetched import HubFile, Record, fetched_folders, fetched_home, read_record, write_record
from clear_rt.models.sources import HubId

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file, whether it is there, what is missing of it, and the same file in the cache of huggingface_hub if any."""

    file: HubFile
    there: bool
    missing_bytes: int
    cached: Path | None


@dataclass(frozen=True, slots=True)
class Part:
    """What is needed of one repository, and the folder that it goes into."""

    listing: Listing
    folder: Path
    files: tuple[PlannedFile, ...]

    @property
    def size_bytes(self) -> int:
        return sum(planned.file.size_bytes for planned in self.files)

    @property
    def download_bytes(self) -> int:
        """What the network has to bring."""
        return sum(planned.missing_bytes for planned in self.files if planned.cached is None)


def plan(config: FetchConfig) -> list[Part]:
    """What would be fetched: the base model, and the LoRA where one is named. Writes nothing.

    Raises:
        WeightsError: as `listing`, or the repository holds no such model. ConfigError: it holds several adapters.
        OutputError: a folder holds other weights, or another commit of these.
    """
    parts = [_part(config.weights, config.folder, lambda found: _weights(found, config.text_encoder))]
    if config.lora is not None:
        folder = None if config.folder is None else config.folder / "lora"
        parts.append(_part(config.lora, folder, lambda found: [_adapter(found, config.lora_file)]))
    return parts


def check_space(parts: list[Part]) -> None:
    """Raises OutputError where what is missing does not fit on the disks that it goes to."""
    needed: dict[int, int] = {}
    for part in parts:
        place = _nearest(part.folder)
        disk = place.stat().st_dev
        # What the cache holds on the same disk gets a second name there and no second copy.
        new = [p for p in part.files if p.cached is None or p.cached.stat().st_dev != disk]
        needed[disk] = needed.get(disk, 0) + sum(planned.missing_bytes for planned in new)
        free = shutil.disk_usage(place).free
        if needed[disk] > free:
            raise OutputError(
                f"{part.folder}: expected {needed[disk]:,} bytes of free space, found {free:,}; "
                "free some or choose another folder"
            )


def fetch(parts: list[Part], tell: Tell = lambda name, done_bytes, size_bytes: None) -> None:
    """Fetches what is missing and writes each folder's record at its end. A second run goes on where one stopped.

    `tell(file, bytes so far, bytes)` is called as it goes on. Raises WeightsError and OutputError, as `fetch_file`;
    what is complete then has its name, and nothing else.
    """
    for part in parts:
        with _writing(part.folder):
            part.folder.mkdir(parents=True, exist_ok=True)
            for planned in part.files:
                if not planned.there:
                    _fetch(part, planned.file, tell)
            hub, before = part.listing.hub, read_record(part.folder)
            files = {**(before.files if before is not None else {}), **{p.file.name: p.file for p in part.files}}
            write_record(part.folder, Record(hub.repository, hub.revision, part.listing.commit, files))


def _fetch(part: Part, file: HubFile, tell: Tell) -> None:
    fetch_file(
        part.listing, file, part.folder / file.name, lambda done_bytes: tell(file.name, done_bytes, file.size_bytes)
    )


def _weights(found: Listing, text_encoder: bool) -> list[str]:
    return wanted_weights(str(found), found.files, text_encoder)


def _adapter(found: Listing, file: str | None) -> str:
    return wanted_adapter(str(found), found.files, file)


def _part(hub: HubId, given: Path | None, wanted: Callable[[Listing], list[str]]) -> Part:
    found = listing(hub, given or _known(hub))
    folder = given if given is not None else fetched_home() / hub.repository / found.commit
    names = wanted(found)
    with _writing(folder):
        _check_folder(folder, found, names)
        record = read_record(folder)
        files = tuple(_planned(found, folder, found.files[name], record) for name in names)
    return Part(found, folder, files)


def _known(hub: HubId) -> Path | None:
    """The folder of an earlier fetch that named none: what can be told of the repository without the hub."""
    folders = fetched_folders(hub.repository)
    records = {folder: read_record(folder) for folder in folders.values()}
    fitting = [f for f, record in records.items() if record and hub.revision in (record.revision, record.commit)]
    return fitting[0] if fitting else None


def _check_folder(folder: Path, found: Listing, names: list[str]) -> None:
    """Weights of two origins in one folder would be read as one model."""
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"expected a folder for the weights, but {folder} is a file; choose another name")
    record = read_record(folder)
    if record is not None and (record.repository, record.commit) != (found.hub.repository, found.commit):
        raise OutputError(
            f"{folder}: expected {found} or nothing there, found {record.repository}@{record.commit}; "
            "choose another folder"
        )
    places = ("*", "transformer/*", "vae/*")
    there = [path.relative_to(folder).as_posix() for place in places for path in folder.glob(place) if path.is_file()]
    try:
        foreign = set(wanted_weights(str(folder), there, False)) - set(names)
    except WeightsError:
        return
    if foreign - set(record.files if record is not None else ()):
        raise OutputError(f"{folder}: expected no other weights there, found {some(sorted(foreign))}; choose another")


def _planned(found: Listing, folder: Path, file: HubFile, record: Record | None) -> PlannedFile:
    path = folder / file.name
    if path.exists():
        recorded = record is not None and file.name in record.files and path.stat().st_size == file.size_bytes
        if not recorded and not is_same(path, file):
            raise OutputError(
                f"{path} is there already, but is not the file of {found}; remove it or choose another folder"
            )
        return PlannedFile(file, True, 0, None)
    partial = partial_file(path, found.commit)
    begun = partial.stat().st_size if partial.exists() else 0
    missing = file.size_bytes - begun if begun <= file.size_bytes else file.size_bytes
    return PlannedFile(file, False, missing, cached_file(found, file.name))


def _nearest(folder: Path) -> Path:
    """The folder, or the first above it that exists."""
    folder = Path(os.path.abspath(folder))
    return next(path for path in (folder, *folder.parents) if path.exists())


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{folder} could not be written ({error.strerror or error}); free some space or choose another folder"
        ) from error
