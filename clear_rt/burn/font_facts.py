"""What libass goes by in a font file, read from its tables (OpenType 1.9: "name", "head" and "OS/2")."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

from clear_rt.burn.fonts import FontFace
from clear_rt.errors import ConfigError

_FULL_NAME, _POSTSCRIPT_NAME = 4, 6
_WINDOWS, _MACINTOSH = 3, 1
_WIN_ASCENT_AT = 74


class FontFacts(NamedTuple):
    """`name` is what libass finds it by: its full name, of PostScript outlines the PostScript name. `line_share` is the
    height of its line as a share of its size: VSFilter, and so libass, takes a size in an .ass file for the former.
    """

    name: str
    line_share: float


@cache
def font_facts(face: FontFace) -> FontFacts:
    """Raises ConfigError where the file has no such tables."""
    try:
        data = face.path.read_bytes()
        tables = _tables(data, face.index)
        (units,) = struct.unpack_from(">H", data, tables[b"head"] + 18)
        ascent, descent = struct.unpack_from(">HH", data, tables[b"OS/2"] + _WIN_ASCENT_AT)
        # Later ones replace earlier ones: what remains is the English name, and of that the one for Windows.
        names = dict(_names(data, tables[b"name"], _POSTSCRIPT_NAME if b"CFF " in tables else _FULL_NAME))
        return FontFacts(names[max(names)], (ascent + descent) / units)
    except (OSError, KeyError, ValueError, struct.error, ZeroDivisionError) as error:
        raise ConfigError(
            f"{face.path} has no tables that libass could go by ({error!r}); give another font, or --renderer pillow"
        ) from error


def _tables(data: bytes, index: int) -> dict[bytes, int]:
    """Offsets of the tables of one face; a collection begins with the offsets of its faces."""
    start = struct.unpack_from(">I", data, 12 + 4 * index)[0] if data[:4] == b"ttcf" else 0
    (count,) = struct.unpack_from(">H", data, start + 4)
    records = (struct.unpack_from(">4sIII", data, start + 12 + 16 * number) for number in range(count))
    return {tag: offset for tag, _, offset, _ in records}


def _names(data: bytes, start: int, wanted: int) -> Iterator[tuple[int, str]]:
    """(platform, name): every name of that number, those in English last within their platform."""
    _, count, strings = struct.unpack_from(">HHH", data, start)
    records = [struct.unpack_from(">HHHHHH", data, start + 6 + 12 * number) for number in range(count)]
    for platform, _, _, what, length, offset in sorted(records, key=lambda record: record[2] == 0x409):
        if what == wanted and platform in (_WINDOWS, _MACINTOSH):
            first = start + strings + offset
            coding = "utf-16-be" if platform == _WINDOWS else "mac-roman"
            yield platform, data[first : first + length].decode(coding)
