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
    """The occlusion prior of a bundle: its ONNX graph, where that was read, and the pictures that it was made for.

    Text is looked for in pictures with a short side of `short_side_px`, and once found outlined in larger ones, up to
    `outline_side_px`.
    """

    path: Path
    graph: bytes = field(repr=False)
    short_side_px: int
    outline_side_px: int
    multiple_px: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose files match their hashes. `built` names versions and commit, where the manifest does."""

    folder: Path
    name: str
    engines: tuple[str, ...]
    prior: PriorSpec
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
    return Bundle(folder, name, engines, prior, generator, files.bytes_total, _built(manifest))


def _prior(entry: Entry, files: Files) -> PriorSpec:
    path, graph = files.read(entry)
    short_side_px = entry.integer("short_side_px", 2, 4096)
    # Older bundles have one size for both.
    outlines = "outline_side_px" in entry.names()
    return PriorSpec(
        path=path,
        graph=graph,
        short_side_px=short_side_px,
        outline_side_px=entry.integer("outline_side_px", short_side_px, 4096) if outlines else short_side_px,
        multiple_px=entry.integer("multiple_px", 1, 256),
        parameters=entry.integer("parameters", 0, 10**12),
    )


def _built(manifest: Entry) -> dict[str, str]:
    """Empty where the manifest says nothing about it, as those of prior-only bundles."""
    if "built" not in manifest.names():
        return {}
    entry = manifest.entry("built")
    return {name: entry.text(name) for name in entry.names()}
