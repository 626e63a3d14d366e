"""manifest.json, read strictly: every field has a type and a range, every file that it names a hash."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from clear_rt.errors import BundleError

FORMAT = 1
AGAIN = "build or fetch the bundle again"
# What Linux file systems take; a longer name makes even the question whether it exists fail.
_LONGEST_NAME_BYTES = 255


class Entry:
    """One JSON object of a manifest. A field of another type or range than asked for raises BundleError."""

    def __init__(self, fields: object, where: str) -> None:
        self.where = where
        if not isinstance(fields, dict):
            raise BundleError(f"{where} must be a JSON object, got {_short(fields)}; {AGAIN}")
        self._fields: dict[str, Any] = fields

    def take(self, name: str, expected: str, fits: Callable[[Any], bool]) -> Any:  # noqa: ANN401 - as `fits` says
        """The value of a field for which `fits` holds; `expected` says in words what that is."""
        if name not in self._fields:
            raise BundleError(f"{self.where} lacks {name!r}, expected {expected}; {AGAIN}")
        value = self._fields[name]
        if not fits(value):
            raise BundleError(f"{self.where}: {name!r} must be {expected}, got {_short(value)}; {AGAIN}")
        return value

    def integer(self, name: str, least: int, most: int) -> int:
        value: int = self.take(name, f"an integer of {least} to {most}", lambda v: _is_integer(v, least, most))
        return value

    def integers(self, name: str, count: int, least: int, most: int) -> tuple[int, ...]:
        expected = f"{count} integers of {least} to {most}"
        return tuple(self.take(name, expected, _is_list_of(lambda v: _is_integer(v, least, most), count)))

    def number(self, name: str, least: float, most: float) -> float:
        return float(self.take(name, f"a number of {least:g} to {most:g}", lambda v: _is_number(v, least, most)))

    def numbers(self, name: str, count: int | None, least: float, most: float) -> tuple[float, ...]:
        expected = f"{'at least one number' if count is None else f'{count} numbers'} of {least:g} to {most:g}"
        found = self.take(name, expected, _is_list_of(lambda v: _is_number(v, least, most), count))
        return tuple(float(value) for value in found)

    def flag(self, name: str) -> bool:
        value: bool = self.take(name, "true or false", lambda v: isinstance(v, bool))
        return value

    def text(self, name: str) -> str:
        value: str = self.take(name, "one line of text", _is_line)
        return value

    def one_of(self, name: str, values: Sequence[str]) -> str:
        value: str = self.take(name, f"one of {', '.join(values)}", lambda v: isinstance(v, str) and v in values)
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(self.take(name, "a list of at least one name", _is_list_of(_is_line, None)))

    def entry(self, name: str) -> Entry:
        return Entry(self.take(name, "a JSON object", lambda v: isinstance(v, dict)), f"{self.where}: {name!r}")

    def entry_or_none(self, name: str) -> Entry | None:
        """An object, or None where the field is null; it may not be left out."""
        found = self.take(name, "a JSON object or null", lambda v: v is None or isinstance(v, dict))
        return None if found is None else Entry(found, f"{self.where}: {name!r}")

    def names(self) -> tuple[str, ...]:
        """The names of all fields."""
        return tuple(self._fields)

    def only(self, allowed: Sequence[str], required: Sequence[str]) -> tuple[str, ...]:
        """The names of all fields, each of them allowed and the required ones among them."""
        unknown = next((name for name in self._fields if name not in allowed), None)
        if unknown is not None:
            raise BundleError(f"{self.where} holds {unknown!r}, expected only {', '.join(allowed)}; {AGAIN}")
        missing = next((name for name in required if name not in self._fields), None)
        if missing is not None:
            raise BundleError(f"{self.where} lacks {missing!r}, expected {', '.join(required)}; {AGAIN}")
        return self.names()


class _Content(NamedTuple):
    sha256: str
    size_bytes: int


class Files:
    """The files of one bundle, each of which the manifest names with its sha256; counts the bytes it has verified."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._verified: dict[Path, _Content] = {}

    @property
    def bytes_total(self) -> int:
        return sum(content.size_bytes for content in self._verified.values())

    def read(self, entry: Entry) -> tuple[Path, bytes]:
        """Path and bytes of the file that `entry` names, read once, so that what was hashed is what is run."""
        path, expected = self._named(entry)
        try:
            data = path.read_bytes()
        except OSError as error:
            _unreadable(path, error)
        self._verify(path, _Content(hashlib.sha256(data).hexdigest(), len(data)), expected)
        return path, data

    def check(self, entry: Entry) -> Path:
        """Path of a file too large to be held, hashed in pieces: whoever opens it later trusts the folder until then.

        Graphs may share one file of weights: it is hashed once.
        """
        path, expected = self._named(entry)
        self._verify(path, self._verified.get(path) or _hashed(path), expected)
        return path

    def _named(self, entry: Entry) -> tuple[Path, str]:
        name, expected = entry.text("file"), entry.text("sha256")
        if name in (".", "..") or Path(name).name != name or len(name.encode()) > _LONGEST_NAME_BYTES:
            raise BundleError(
                f"{self._folder}: manifest.json names {_short(name)}, expected a plain file name; {AGAIN}"
            )
        path = self._folder / name
        if not path.is_file():
            raise BundleError(f"{self._folder}: {name} is missing; {AGAIN}")
        return path, expected

    def _verify(self, path: Path, found: _Content, expected: str) -> None:
        if found.sha256 != expected:
            raise BundleError(
                f"{path} does not match its manifest (sha256 {found.sha256[:12]}…, expected {expected[:12]}…); "
                f"the bundle was altered or damaged: {AGAIN}"
            )
        self._verified[path] = found


def read_manifest(folder: Path) -> Entry:
    """manifest.json of a bundle. Raises BundleError where there is none, or one of another format."""
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
    return Entry(fields, str(path))


def _hashed(path: Path) -> _Content:
    try:
        with path.open("rb") as file:
            return _Content(hashlib.file_digest(file, "sha256").hexdigest(), file.tell())
    except OSError as error:
        _unreadable(path, error)


def _is_line(value: object) -> bool:
    return isinstance(value, str) and bool(value) and value.isprintable()


def _is_integer(value: object, least: int, most: int) -> bool:
    # bool is an int in Python, and true is no size.
    return type(value) is int and least <= value <= most


def _is_number(value: object, least: float, most: float) -> bool:
    # NaN, which Python reads from JSON, is not between anything.
    return type(value) in (int, float) and isinstance(value, (int, float)) and least <= value <= most


def _is_list_of(fits: Callable[[Any], bool], count: int | None) -> Callable[[object], bool]:
    """Whether a value is a list of `count` fitting values, or of at least one where that is None."""
    return lambda v: isinstance(v, list) and (bool(v) if count is None else len(v) == count) and all(map(fits, v))


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:40]}…"


def _unreadable(path: Path, error: Exception) -> NoReturn:
    reason = getattr(error, "strerror", None) or str(error)
    raise BundleError(f"{path} cannot be read ({reason}); {AGAIN}") from None
