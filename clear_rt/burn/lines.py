"""When which lines are shown: captions read from .srt, .ass and .ssa files, or made up from a seed."""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

import numpy as np

from clear_rt.burn.scripts import ALL_SCRIPTS, random_line
from clear_rt.burn.timing import Timing
from clear_rt.errors import InputError

_SRT_TIME = r"(\d+):([0-5]?\d):([0-5]?\d)[,.](\d{1,3})"
_SRT_TIMING = re.compile(rf"\s*{_SRT_TIME}\s*-->\s*{_SRT_TIME}(?:\s.*)?")
_ASS_TIME = re.compile(r"\s*(\d+):([0-5]?\d):([0-5]?\d)[.:](\d{1,3})\s*")
_ASS_FIELDS = "Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text"
_SRT_TAG = re.compile(
    r"</?(?:b|i|u|s|c|v|font|span|ruby|rt)(?:[\s.][^<>]*)?/?>|\{/?[biu]\}|\{\\[^{}]*\}", re.IGNORECASE
)
_ASS_TAG = re.compile(r"\{[^{}]*\}")
_TOP = re.compile(r"\{[^{}]*\\an[789][^{}]*\}")
_DRAWING = re.compile(r"\{[^{}]*\\p[1-9][^{}]*\}.*?(?=\{[^{}]*\\p0[^{}]*\}|$)", re.DOTALL)
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))


@dataclass(frozen=True, slots=True)
class Caption:
    """Lines shown from `start_us` (inclusive) to `stop_us` (exclusive), microseconds of the video.

    `script` is a key of ALL_SCRIPTS where it is known (None: to be guessed from the letters); `top`: at the upper edge;
    `second`: the script of the last line where that is another language.
    """

    start_us: int
    stop_us: int
    lines: tuple[str, ...]
    script: str | None = None
    top: bool = False
    second: str | None = None


def read_captions(path: Path) -> tuple[Caption, ...]:
    """Captions of an .srt, .ass or .ssa file, sorted by start; captions without any letter are left out.

    Raises:
        InputError: no such file, another kind of file, an unknown encoding (UTF-8, or UTF-16 with a byte order mark,
            are read), a line that does not belong there (its number is named), or a file without captions.
    """
    parsers = {".srt": _parse_srt, ".ass": _parse_ass, ".ssa": _parse_ass}
    parser = parsers.get(path.suffix.lower())
    if parser is None:
        raise InputError(f"{path}: expected subtitles as .srt, .ass or .ssa, found {path.suffix or 'no suffix'!r}")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the subtitle file cannot be read ({error.strerror}); check the path") from error
    lines = _decode(data, path).replace("\r\n", "\n").replace("\r", "\n").split("\n")
    captions = sorted((c for c in parser(lines, path) if c.lines), key=lambda caption: caption.start_us)
    if not captions:
        raise InputError(f"{path}: no caption was found in the file; leave out --subtitles for random lines")
    return tuple(captions)


def write_srt(captions: Iterable[Caption]) -> str:
    """The text of an .srt file, LF line ends. Times are cut to milliseconds; `script` is not kept."""
    blocks = []
    for number, caption in enumerate(captions, 1):
        text = "\n".join(caption.lines)
        times = f"{_srt_time(caption.start_us)} --> {_srt_time(caption.stop_us)}"
        blocks.append(f"{number}\n{times}\n{'{' + chr(92) + 'an8}' if caption.top else ''}{text}\n")
    return "\n".join(blocks)


def endless_captions(
    scripts: Sequence[str], seed: int, timing: Timing | None = None, *, bilingual: bool = False
) -> Iterator[Caption]:
    """Made-up captions from 0 on, one or two lines each, timed as `timing` says: by default 1-4 s, a gap before one in
    four. `bilingual`: two lines, the second in another of `scripts` (in English where there is no other).

    Each caption's script is drawn from `scripts` (keys of ALL_SCRIPTS). The same arguments give the same captions.
    """
    rng, timing = np.random.default_rng(seed), timing or Timing()
    start_us = 0
    while True:
        script = ALL_SCRIPTS[scripts[int(rng.integers(len(scripts)))]]
        lines = tuple(random_line(script, rng) for _ in range(2 if rng.random() < 0.35 else 1))
        second = _second_script(script.name, scripts, rng) if bilingual else None
        if second is not None:
            lines = lines[0], random_line(ALL_SCRIPTS[second], rng)
        stop_us = start_us + _drawn_us(timing.shown_us, rng)
        yield Caption(start_us, stop_us, lines, script.name, second=second)
        start_us = stop_us + (_drawn_us(timing.gap_us, rng) if rng.random() < timing.gap_share else 0)


def _second_script(first: str, scripts: Sequence[str], rng: np.random.Generator) -> str:
    others = [name for name in scripts if name != first] or (["en"] if first != "en" else ["zh"])
    return others[int(rng.integers(len(others)))]


def _drawn_us(range_us: tuple[int, int], rng: np.random.Generator) -> int:
    return int(rng.integers(range_us[0], range_us[1] + 1))


def random_captions(scripts: Sequence[str], duration_us: int, seed: int) -> tuple[Caption, ...]:
    """Those of `endless_captions` that start before `duration_us`; a longer duration only adds to their end."""
    return tuple(takewhile(lambda caption: caption.start_us < duration_us, endless_captions(scripts, seed)))


def disjoint(captions: Sequence[Caption]) -> tuple[Caption, ...]:
    """The same picture without overlaps in time: where several captions of one edge are shown at once, they become
    one caption with the lines of all of them, the earliest first. Sorted by start.
    """
    flat: list[Caption] = []
    for top in (False, True):
        group = [c for c in captions if c.top == top and c.lines and c.start_us < c.stop_us]
        edges = sorted({edge for caption in group for edge in (caption.start_us, caption.stop_us)})
        for start_us, stop_us in pairwise(edges):
            shown = [caption for caption in group if caption.start_us <= start_us < caption.stop_us]
            lines = tuple(line for caption in shown for line in caption.lines)
            if shown:
                second = shown[0].second if len(shown) == 1 else None
                flat.append(Caption(start_us, stop_us, lines, shown[0].script, top, second))
    return tuple(sorted(flat, key=lambda caption: caption.start_us))


def _decode(data: bytes, path: Path) -> str:
    bom, encoding = next((pair for pair in _BOMS if data.startswith(pair[0])), (b"", "utf-8"))
    body = data[len(bom) :]
    try:
        return body.decode(encoding)
    except UnicodeDecodeError as error:
        line = body[: error.start].decode(encoding, "replace").count("\n") + 1
        raise InputError(f"{path}, line {line}: this is not {encoding.upper()} text; save the file as UTF-8") from error


def _parse_srt(lines: list[str], path: Path) -> Iterable[Caption]:
    timings = [number for number, line in enumerate(lines) if "-->" in line]
    for number, line in enumerate(lines[: timings[0] if timings else len(lines)]):
        if line.strip() and not line.strip().isdecimal():
            raise InputError(f"{path}, line {number + 1}: expected a caption's number or times, found {line.strip()!r}")
    for number, following in pairwise([*timings, len(lines) + 1]):
        found = _SRT_TIMING.fullmatch(lines[number])
        if found is None:
            raise InputError(
                f"{path}, line {number + 1}: expected times like 00:00:01,000 --> 00:00:02,500, "
                f"found {lines[number].strip()!r}"
            )
        start_us, stop_us = _microseconds(found.groups()[:4]), _microseconds(found.groups()[4:])
        _check_order(start_us, stop_us, path, number)
        # The number of the next caption stands right above its times, with or without a blank line before it.
        end = following - 1 if following < len(lines) and lines[following - 1].strip().isdecimal() else following
        yield _caption(start_us, stop_us, "\n".join(lines[number + 1 : end]), _SRT_TAG)


def _parse_ass(lines: list[str], path: Path) -> Iterable[Caption]:
    section, fields = "", _ASS_FIELDS
    for number, line in enumerate(lines):
        key, _, rest = line.partition(":")
        if line.strip().startswith("["):
            section = line.strip().lower()
        elif section == "[events]" and key.strip().lower() == "format":
            fields = rest
        elif section == "[events]" and key.strip().lower() == "dialogue":
            yield _dialogue([field.strip().lower() for field in fields.split(",")], rest, path, number)
    if section == "":
        raise InputError(f"{path}, line 1: expected a section such as [Script Info] or [Events], found none")


def _dialogue(fields: list[str], rest: str, path: Path, number: int) -> Caption:
    values = dict(zip(fields, rest.split(",", len(fields) - 1), strict=False))
    if not {"start", "end", "text"} <= values.keys():
        raise InputError(f"{path}, line {number + 1}: expected a Dialogue with Start, End and Text, found {rest!r}")
    times = [_ASS_TIME.fullmatch(values[name]) for name in ("start", "end")]
    if times[0] is None or times[1] is None:
        raise InputError(
            f"{path}, line {number + 1}: expected times like 0:00:01.00, "
            f"found {values['start']!r} and {values['end']!r}"
        )
    start_us, stop_us = _microseconds(times[0].groups()), _microseconds(times[1].groups())
    _check_order(start_us, stop_us, path, number)
    text = _DRAWING.sub("", values["text"])
    text = text.replace("\\N", "\n").replace("\\n", "\n").replace("\\h", " ")
    return _caption(start_us, stop_us, text, _ASS_TAG)


def _check_order(start_us: int, stop_us: int, path: Path, number: int) -> None:
    if stop_us < start_us:
        raise InputError(f"{path}, line {number + 1}: the caption ends before it starts; exchange its two times")


def _caption(start_us: int, stop_us: int, text: str, tag: re.Pattern[str]) -> Caption:
    lines = tuple(shown for line in tag.sub("", text).split("\n") if (shown := _printable(line)))
    return Caption(start_us, stop_us, lines, None, _TOP.search(text) is not None)


def _printable(line: str) -> str:
    """`line` without control characters, with plain spaces, trimmed."""
    spaced = (" " if char.isspace() else char for char in line)
    return "".join(char for char in spaced if unicodedata.category(char) not in ("Cc", "Cs", "Zl", "Zp")).strip()


def _microseconds(parts: Sequence[str]) -> int:
    hours, minutes, seconds, fraction = parts
    return ((int(hours) * 60 + int(minutes)) * 60 + int(seconds)) * 1_000_000 + int(fraction.ljust(6, "0"))


def _srt_time(time_us: int) -> str:
    seconds, fraction_us = divmod(time_us, 1_000_000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02},{fraction_us // 1000:03}"
