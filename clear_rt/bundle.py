"""A bundle: a folder with manifest.json and the graphs and engines it names, each hashed (design laws 2 and 7)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clear_rt.errors import BundleError

FORMAT = 1
EMBEDDED = Path(__file__).parent / "bundles" / "clear-tiny"


@dataclass(frozen=True, slots=True)
class PriorSpec:
    """The occlusion prior of a bundle: its file, and the working picture it was trained on."""

    path: Path
    short_side_px: int
    multiple_px: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files match their hashes. `generator` is None where it holds no generative model."""

    folder: Path
    name: str
    engines: tuple[str, ...]
    prior: PriorSpec
    generator: dict[str, Any] | None
    profiles_px: tuple[tuple[int, int], ...]
    bytes_total: int


def _verified(folder: Path, entry: dict[str, Any]) -> Path:
    name, expected = str(entry["file"]), str(entry["sha256"])
    path = folder / name
    if path.parent != folder:
        raise BundleError(f"{folder}: manifest.json names {name!r}, expected a plain file name; fetch the bundle again")
    if not path.is_file():
        raise BundleError(f"{folder}: {name} is missing; build or fetch the bundle again")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise BundleError(
            f"{path} does not match its manifest (sha256 {found[:12]}…, expected {expected[:12]}…); "
            "the bundle was altered or damaged: build or fetch it again"
        )
    return path


def open_bundle(folder: Path | None = None) -> Bundle:
    """Read a bundle and verify every file it names; without a folder, the embedded clear-tiny.

    Raises:
        BundleError: no manifest, another format, a file missing, or a hash that differs.
    """
    folder = EMBEDDED if folder is None else folder
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
    except FileNotFoundError:
        raise BundleError(f"{folder} is no bundle: expected a folder with manifest.json") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{folder}/manifest.json cannot be read ({error}); build or fetch the bundle again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise BundleError(
            f"{folder} has bundle format {found}, this version reads format {FORMAT}; build the bundle again"
        )
    try:
        prior = manifest["prior"]
        path = _verified(folder, prior)
        return Bundle(
            folder=folder,
            name=str(manifest["name"]),
            engines=tuple(manifest["engines"]),
            prior=PriorSpec(path, int(prior["short_side_px"]), int(prior["multiple_px"]), int(prior["parameters"])),
            generator=manifest.get("generator"),
            profiles_px=tuple((int(w), int(h)) for w, h in manifest.get("profiles_px", ())),
            bytes_total=path.stat().st_size,
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder}/manifest.json lacks or garbles {error}; build or fetch the bundle again") from None
