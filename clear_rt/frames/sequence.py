"""Pictures in numbered files, which a pattern such as frames/%05d.png names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from clear_rt.errors import InputError
from clear_rt.frames.failures import reason

# FFmpeg's encoder by the ending of the files.
PICTURES = {
    ".png": "png",
    ".tif": "tiff",
    ".tiff": "tiff",
    ".dpx": "dpx",
    ".bmp": "bmp",
    ".tga": "targa",
    ".jpg": "mjpeg",
    ".jpeg": "mjpeg",
}
_PATTERN = re.compile(r"([^%]*)%(?:0(\d))?d([^%]*)")


def is_pattern(path: Path) -> bool:
    """Whether `path` names numbered pictures, and not a file that happens to be called so."""
    return _PATTERN.fullmatch(path.name) is not None and not path.exists()


@dataclass(frozen=True)
class NumberedPictures:
    """The pictures that `pattern` names, as they were when it was first asked for them."""

    pattern: Path

    def path_of(self, number: int) -> Path:
        head, digits, tail = self._parts
        return self.pattern.with_name(f"{head}{number:0{digits}}{tail}")

    @property
    def for_ffmpeg(self) -> str:
        """The pattern in which no folder's name is taken for a part of it."""
        return str(self.pattern.absolute().parent).replace("%", "%%") + "/" + self.pattern.name

    @cached_property
    def numbers(self) -> tuple[int, ...]:
        """Those there are, in order, one at least and none left out. Raises InputError."""
        head, _, tail = self._parts
        name = re.compile(f"{re.escape(head)}([0-9]+){re.escape(tail)}")
        try:
            found = [name.fullmatch(path.name) for path in self.pattern.parent.iterdir()]
        except OSError as error:
            raise InputError(f"expected pictures named {self.pattern}, but {reason(error)}; check the path") from error
        numbers = sorted(int(one[1]) for one in found if one and self.path_of(int(one[1])).name == one[0])
        if not numbers:
            raise InputError(f"expected pictures named {self.pattern}, found none; check the folder and the pattern")
        for before, after in pairwise(numbers):
            if after != before + 1:
                raise InputError(
                    f"expected {self.path_of(before + 1)} between {before} and {after}, but nothing is there; "
                    "add what is missing or process the parts by themselves"
                )
        return tuple(numbers)

    @property
    def size_bytes(self) -> int:
        """Of all pictures. Raises InputError and OSError."""
        return sum(self.path_of(number).stat().st_size for number in self.numbers)

    @cached_property
    def _parts(self) -> tuple[str, int, str]:
        """What stands before the number, its least length, and what stands behind it."""
        match = _PATTERN.fullmatch(self.pattern.name)
        if match is None:
            raise ValueError(f"{self.pattern} is no pattern")
        return match[1], int(match[2] or 1), match[3]
