"""A bundle: a folder with manifest.json and the graph it names, whose hash covers the very bytes that are loaded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from clear_rt.errors import BundleError

FORMAT = 1
EMBEDDED = Path(__file__).parent / "bundles" / "clear-tiny"
_AGAIN = "build or fetch the bundle again"


@dataclass(frozen=True, slots=True)
class PriorSpec:
    """The occlusion prior of a bundle: its ONNX graph, where that was read, and the working picture it was made for."""

    path: Path
    graph: bytes = field(repr=False)
    short_side_px: int
    multiple_px: int
    parameters: int


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle whose file matches its hash. It holds no generative model: this version runs none."""

    folder: Path
    name: str
    engines: tuple[str, ...]
    prior: PriorSpec
    bytes_total: int


class _Entry:
    """One JSON object of a manifest. A field of another type or range than asked for raises BundleError."""

    def __init__(self, fields: object, where: str) -> None:
        self._where = where
        if not isinstance(fields, dict):
            raise BundleError(f"{where} must be a JSON object, got {_short(fields)}; {_AGAIN}")
        self._fields: dict[str, Any] = fields

    def _take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - as `fits` says
        if name not in self._fields:
            raise BundleError(f"{self._where} lacks {name!r}, expected {expected}; {_AGAIN}")
        value = self._fields[name]
        if not fits(value):
            raise BundleError(f"{self._where}: {name!r} must be {expected}, got {_short(value)}; {_AGAIN}")
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        # bool is an int in Python, and true is no size.
        value: int = self._take(
            name, f"an integer of {least} to {most}", lambda v: type(v) is int and least <= v <= most
        )
        return value

    def text(self, name: str) -> str:
        value: str = self._take(name, "one line of text", _is_line)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        expected = "a list of at least one name"
        return tuple(self._take(name, expected, lambda v: isinstance(v, list) and bool(v) and all(map(_is_line, v))))

    def entry(self, name: str) -> _Entry:
        return _Entry(self._take(name, "a JSON object", lambda v: isinstance(v, dict)), f"{self._where}: {name!r}")

    def refuse(self, name: str, sentence: str) -> None:
        if self._fields.get(name) is not None:
            raise BundleError(f"{self._where} {sentence}")


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or str(error)
    raise BundleError(f"{path} cannot be read ({reason}); {_AGAIN}") from None


def _manifest(folder: Path) -> _Entry:
    path = folder / "manifest.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise BundleError(f"{folder} is no bundle: expected a folder with manifest.json; check --bundle") from None
    except (OSError, ValueError, RecursionError) as error:
        _unreadable(path, error)
    found = fields.get("format") if isinstance(fields, dict) else None
    if type(found) is not int or found != FORMAT:
        raise BundleError(
            f"{folder} has bundle format {_short(found)}, this version reads format {FORMAT}; build the bundle again"
        )
    return _Entry(fields, str(path))


def _verified(folder: Path, entry: _Entry) -> tuple[Path, bytes]:
    """Path and bytes of the file that `entry` names, read once, so that what was hashed is what is run."""
    name, expected = entry.text("file"), entry.text("sha256")
    path = folder / name
    if name in (".", "..") or Path(name).name != name:
        raise BundleError(f"{folder}: manifest.json names {name!r}, expected a plain file name; {_AGAIN}")
    if not path.is_file():
        raise BundleError(f"{folder}: {name} is missing; {_AGAIN}")
    try:
        data = path.read_bytes()
    except OSError as error:
        _unreadable(path, error)
    found = hashlib.sha256(data).hexdigest()
    if found != expected:
        raise BundleError(
            f"{path} does not match its manifest (sha256 {found[:12]}…, expected {expected[:12]}…); "
            f"the bundle was altered or damaged: {_AGAIN}"
        )
    return path, data


def _prior(folder: Path, entry: _Entry) -> PriorSpec:
    path, graph = _verified(folder, entry)
    return PriorSpec(
        path=path,
        graph=graph,
        short_side_px=entry.integer("short_side_px", 2, 4096),
        multiple_px=entry.integer("multiple_px", 1, 256),
        parameters=entry.integer("parameters", 0, 10**12),
    )


def open_bundle(folder: Path | None = None) -> Bundle:
    """Read a bundle and verify the file it names; without a folder, the embedded clear-tiny.

    Raises:
        BundleError: no manifest, another format, an entry missing or out of range, a generative model (which this
            version cannot run), a file missing, or a hash that differs.
    """
    folder = EMBEDDED if folder is None else folder
    manifest = _manifest(folder)
    manifest.refuse(
        "generator", "holds a generative model, which this version cannot run; use a bundle with the prior only"
    )
    prior = _prior(folder, manifest.entry("prior"))
    return Bundle(
        folder=folder,
        name=manifest.text("name"),
        engines=manifest.texts("engines"),
        prior=prior,
        bytes_total=len(prior.graph),
    )
