"""A bundle: a folder with manifest.json and the files it names, every one under a hash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clear_rt.generator import GeneratorSpec, GraphSpec, StepTable, read_generator
from clear_rt.manifest import FORMAT, Entry, Files, read_manifest

__all__ = ["EMBEDDED", "FORMAT", "Bundle", "GeneratorSpec", "GraphSpec", "PriorSpec", "StepTable", "open_bundle"]

EMBEDDED = Path(__file__).parent / "bundles" / "clear-tiny"


@dataclass(frozen=True, slots=True)
class PriorSpec:
    """A network from pictures to subtitle probability: its ONNX graph, where that was read, what it is shown.

    Of the prior `short_side_px` is that of all pictures, of the outliner that of the largest.
    """

    path: Path
    graph: bytes = field(repr=False)
    short_side_px: int
    multiple_px: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files match their hashes. `built` names versions and commit, where the manifest does.

    The prior finds text, the outliner says where it is to the pixel; without one the prior does both.
    """

    folder: Path
    name: str
    engines: tuple[str, ...]
    prior: PriorSpec
    outliner: PriorSpec | None
    generator: GeneratorSpec | None
    bytes_total: int
    built: Mapping[str, str] = field(default_factory=dict)


def open_bundle(folder: Path | None = None) -> Bundle:
    """Read a bundle and verify the files it names; without a folder, the embedded clear-tiny.

    Raises:
        BundleError: no manifest, another format, an entry missing or out of range, a file missing, or a hash that
            differs.
    """
    folder = EMBEDDED if folder is None else folder
    manifest, files = read_manifest(folder), Files(folder)
    name, engines = manifest.text("name"), manifest.texts("engines")
    prior = _prior(manifest.entry("prior"), files)
    described = manifest.entry_or_none("generator")
    generator = None if described is None else read_generator(described, files, engines)
    outlines = manifest.entry_or_none("outliner") if "outliner" in manifest.names() else None
    outliner = None if outlines is None else _prior(outlines, files)
    return Bundle(folder, name, engines, prior, outliner, generator, files.bytes_total, _built(manifest))


def _prior(entry: Entry, files: Files) -> PriorSpec:
    path, graph = files.read(entry)
    return PriorSpec(
        path=path,
        graph=graph,
        short_side_px=entry.integer("short_side_px", 2, 4096),
        multiple_px=entry.integer("multiple_px", 1, 256),
        parameters=entry.integer("parameters", 0, 10**12),
    )


def _built(manifest: Entry) -> dict[str, str]:
    """Empty where the manifest says nothing about it, as those of prior-only bundles."""
    if "built" not in manifest.names():
        return {}
    entry = manifest.entry("built")
    return {name: entry.text(name) for name in entry.names()}
