"""docs/FORMATS.md, from the cases that `test_formats` runs: `python -m tests.formats_table` writes it."""

from __future__ import annotations

from pathlib import Path

from av.codec import Codec

from tests.format_cases import CASES, Case

TABLE = Path(__file__).resolve().parents[1] / "docs" / "FORMATS.md"
_HEAD = """\
# Formats

What `clear-rt remove` keeps of a video, case by case. Every line is a file that `tests/test_formats.py` makes with
FFmpeg, with text in the middle of it, and compares with its result: number and times of frames, size, bit depth, every
sample outside the edited region, container, turn and mirroring, pixel shape, colour description, HDR10 metadata,
field flags, closed captions, all other streams packet by packet with their times, tags and dispositions, chapters,
attachments. The last column says what of that differs afterwards; everything else is equal. Results are encoded with
`--lossless` here, so that samples can be compared.

A video codec that no encoder here writes without loss becomes H.264; without `--lossless` MPEG-2, MPEG-4, motion JPEG,
VP8, ProRes 422 and DNxHR stay what they are (`tests/frames/test_following.py`). What a container cannot hold is named
in the report. PNG and its like stand for numbered pictures; JPEG is never without loss. TS files begin at another time
than their source, by the same amount in all streams.

Written by `python -m tests.formats_table`; a test compares it. More of this is in `tests/frames/`: `test_streams.py`
and `test_times.py` (the same through the writer alone, and packet by packet where there is no text), `test_targets.py`
(what a container cannot say), `test_lossless.py` (all pixel formats), `test_smart_copy.py`, and `tests/test_layouts.py`
(streams drawn at random). Broken files: `tests/test_faults.py` and `tests/frames/test_bad_files.py`.

| Container | Video | Samples | Size | What it has | What differs in the result |
| --- | --- | --- | --- | --- | --- |
"""


def table() -> str:
    """The whole document."""
    return _HEAD + "".join(f"| {' | '.join(_cells(case))} |\n" for case in CASES)


def _cells(case: Case) -> list[str]:
    container = case.suffix if case.target in (None, case.suffix) else f"{case.suffix} to {case.target}"
    codec = Codec(case.codec, "w").canonical_name
    proves = f" ({', '.join(case.proves)})" if case.proves else ""
    return [container, codec, case.pixel_format, "x".join(map(str, case.size)), case.shows + proves, _outcome(case)]


def _outcome(case: Case) -> str:
    if case.refused:
        return f"refused: \N{LEFT DOUBLE QUOTATION MARK}… {case.refused} …\N{RIGHT DOUBLE QUOTATION MARK}"
    differs = [f"video is {case.becomes}"] if case.becomes else []
    differs += [", ".join(case.loses)] if case.loses else []
    said = [f"\N{LEFT DOUBLE QUOTATION MARK}{words} …\N{RIGHT DOUBLE QUOTATION MARK}" for words in case.says]
    return "; ".join([*differs, *said]) or "nothing"


if __name__ == "__main__":
    TABLE.write_text(table(), encoding="utf-8")
