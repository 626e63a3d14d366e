"""Weights by what people call them: a folder, a file, or a repository that was fetched before. Downloads nothing."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.models.fetched import fetched_folders, read_record

ADAPTER_SUFFIXES = (".safetensors", ".pt", ".pth")

_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./-]{0,199}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True, slots=True)
class HubId:
    """A model's repository on the Hugging Face hub; `revision` is a branch, a tag or a commit, None the main branch.

    Raises ConfigError for what can be neither. Both become parts of paths: nothing in them leads upwards.
    """

    repository: str
    revision: str | None = None

    def __post_init__(self) -> None:
        if not _REPOSITORY.fullmatch(self.repository) or ".." in self.repository or "--" in self.repository:
            raise ConfigError(f"expected owner/name of a repository on the hub, found {self.repository!r}; correct it")
        if self.revision is not None and (not _REVISION.fullmatch(self.revision) or ".." in self.revision):
            raise ConfigError(f"expected a branch, a tag or a commit, found {self.revision!r}; correct it")

    @classmethod
    def parse(cls, spec: str) -> Self:
        """From owner/name or owner/name@revision. Raises ConfigError for anything else."""
        repository, at, revision = spec.partition("@")
        return cls(repository, revision if at else None)

    def __str__(self) -> str:
        return self.repository if self.revision is None else f"{self.repository}@{self.revision}"


def weights_source(spec: str) -> Path:
    """A folder or a file as it is, else the folder of owner/name or owner/name@revision where that was fetched before.

    Looks into what `clear-rt fetch` fetched without naming a folder, then into the cache of huggingface_hub, if that
    is installed. Raises WeightsError where nothing is found, or several commits that a missing revision leaves open.
    """
    return _source(spec, "--repository")


def adapter_source(spec: str) -> Path:
    """As `weights_source`, but the one checkpoint in it where that is a folder.

    Raises WeightsError also where the folder holds no checkpoint, or several.
    """
    found = _source(spec, "--lora")
    if not found.is_dir():
        return found
    # A name that begins with a dot is a file not yet complete.
    files = [path for path in sorted(found.rglob("*")) if path.suffix in ADAPTER_SUFFIXES and path.name[0] != "."]
    if len(files) != 1:
        names = ", ".join(str(path.relative_to(found)) for path in files[:4])
        raise WeightsError(
            f"{found}: expected one checkpoint ({', '.join(ADAPTER_SUFFIXES)}) in it, found {names or 'none'}"
            f"{f' and {len(files) - 4} more' if len(files) > 4 else ''}; give the file itself"
        )
    return files[0]


def cached_snapshot(hub: HubId) -> Path | None:
    """The folder of a repository's commit in the cache of huggingface_hub; its name is the commit, its files are links.

    None where there is none, or huggingface_hub is not installed.
    """
    try:
        # Here, as it is part of an extra, and only it knows where its cache is.
        from huggingface_hub.constants import HF_HUB_CACHE
    except ModuleNotFoundError:
        return None
    home = Path(HF_HUB_CACHE) / f"models--{hub.repository.replace('/', '--')}"
    revision = hub.revision or "main"
    try:
        commit = (home / "refs" / revision).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        commit = revision
    snapshot = home / "snapshots" / commit
    return snapshot if _COMMIT.fullmatch(commit) and snapshot.is_dir() else None


def _source(spec: str, option: str) -> Path:
    path = Path(os.path.expanduser(spec))
    # Path.exists raises where the name is too long or holds a null.
    if os.path.exists(path):
        return path
    try:
        hub = HubId.parse(spec)
    except ConfigError:
        raise WeightsError(
            f"{spec}: expected a folder, a file, or owner/name of a repository fetched before, found none; "
            "check the path"
        ) from None
    found = _fetched(hub) or cached_snapshot(hub)
    if found is None:
        raise WeightsError(
            f"{spec}: expected a folder, a file, or a repository fetched before, found none; check the path, "
            f"or run clear-rt fetch {option} {hub}"
        )
    return found


def _fetched(hub: HubId) -> Path | None:
    folders = fetched_folders(hub.repository)
    if hub.revision in folders:
        return folders[hub.revision]
    if hub.revision is not None:
        records = [(folder, read_record(folder)) for folder in folders.values()]
        folders = {f.name: f for f, record in records if record is not None and record.revision == hub.revision}
    if len(folders) > 1:
        raise WeightsError(
            f"{hub}: expected one commit of it, found {', '.join(folders)}; say which: {hub.repository}@COMMIT"
        )
    return next(iter(folders.values()), None)
