"""Which characters a font has no picture for, so that a caption gets the face that can show it."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

from clear_rt.burn.fonts import FontFace
from clear_rt.burn.pillow import ImageFont

_PROBE_SIZE_PX = 24
# No font has a picture for a noncharacter, so it shows what the font draws instead of a missing one.
_NOWHERE = "\U0010fffe"
_INVISIBLE = {"Cf", "Mn", "Zs"}


def missing(face: FontFace, text: str) -> frozenset[str]:
    """The visible characters of `text` that `face` would draw as its placeholder. `face` must be a readable font."""
    shown = {char for char in text if unicodedata.category(char) not in _INVISIBLE}
    return frozenset(char for char in shown if _looks_missing(face, char))


def best_face(faces: Sequence[FontFace], text: str) -> FontFace:
    """The first face with the fewest missing characters."""
    return min(faces, key=lambda face: len(missing(face, text)))


def distinct(faces: Iterable[FontFace]) -> tuple[FontFace, ...]:
    """`faces` without repetitions, in order."""
    return tuple(dict.fromkeys(faces))


@cache
def _looks_missing(face: FontFace, char: str) -> bool:
    return _picture(face, char) == _picture(face, _NOWHERE)


@cache
def _picture(face: FontFace, char: str) -> tuple[tuple[int, int], bytes]:
    mask = _font(face).getmask(char)
    return mask.size, bytes(mask)


@cache
def _font(face: FontFace) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(face.path), _PROBE_SIZE_PX, face.index, layout_engine=ImageFont.Layout.BASIC)
