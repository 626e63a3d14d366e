"""Streams drawn at random, in MKV and MP4: what a probe says of the source, it says of the result."""

from __future__ import annotations

import tempfile
from fractions import Fraction
from itertools import accumulate
from pathlib import Path

import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import clear_rt
from clear_rt.config import RegionConfig, RunConfig, WriteConfig
from tests.facts import facts
from tests.format_cases import FAST, FONT, FRAMES, Case, cover, lines, make, make_mask, sound

TICKS = 12_800
SOUNDS = {"mkv": ("aac", "ac3", "flac", "libopus", "pcm_s16le", "mp3"), "mp4": ("aac", "ac3", "libopus", "mp3")}
LANGUAGES = ("deu", "eng", "fra", "jpn")
DISPOSITIONS = {
    "mkv": (0, Disposition.default, Disposition.comment, Disposition.hearing_impaired, Disposition.original),
    # MP4 has no more than whether a track is on.
    "mp4": (Disposition.default,),
}
WORDS = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn", "Co")), min_size=1, max_size=12)


@st.composite
def layouts(draw, suffix):
    """A video of 12 frames at uneven times from somewhere on, and what goes with it."""
    add = [
        sound(codec, draw(st.sampled_from(LANGUAGES)), draw(st.sampled_from(DISPOSITIONS[suffix])))
        for codec in draw(st.lists(st.sampled_from(SOUNDS[suffix]), max_size=3))
    ]
    texts = (
        [lines("subrip", draw(st.sampled_from((0, Disposition.forced))))]
        if suffix == "mkv"
        else [lines("mov_text", begin=b"\0\6")]
    )
    add += texts * draw(st.integers(0, 2))
    if suffix == "mkv" and draw(st.booleans()):
        add.append(_font)
    if suffix == "mp4" and draw(st.booleans()):
        add.append(cover)
    add.append(_chapters(draw(st.lists(WORDS, max_size=3))))
    add.append(_titled(draw(WORDS)))
    codec, form = draw(st.sampled_from((("libx264", "yuv420p"), ("libx264", "yuv444p10le"), ("libx265", "yuv420p"))))
    options = FAST if codec == "libx264" else {"preset": "ultrafast", "x265-params": "log-level=none"}
    steps = draw(st.lists(st.integers(1, 8), min_size=FRAMES - 1, max_size=FRAMES - 1))
    # Of 1/100 s, so that milliseconds hold them, too.
    start = draw(st.sampled_from((0, 0, 7, 300)))
    stamps = tuple(128 * time for time in accumulate(steps, initial=start))
    return Case("", suffix, codec, form, options=options, stamps=stamps, time_base=Fraction(1, TICKS), add=tuple(add))


def _font(container):
    container.add_attachment("a font.ttf", "application/x-truetype-font", FONT)


def _chapters(titles):
    def add(container):
        at = [10 * index for index in range(len(titles) + 1)]
        container.set_chapters(
            [
                {
                    "id": n + 1,
                    "start": at[n],
                    "end": at[n + 1],
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": one},
                }
                for n, one in enumerate(titles)
            ]
        )

    return add


def _titled(title):
    return lambda container: container.metadata.update({"title": title})


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
@settings(max_examples=12, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_whatever_goes_with_the_pictures_is_kept(suffix, data):
    """Streams, packets and their times, dispositions, tags, chapters, attachments, times of frames."""
    case = data.draw(layouts(suffix))
    with tempfile.TemporaryDirectory() as folder:
        source, target = make(case, Path(folder) / f"in.{suffix}"), Path(folder) / f"out.{suffix}"
        mask = make_mask(Path(folder) / "mask.mkv", case)
        config = RunConfig(region=RegionConfig(mask=mask), write=WriteConfig(crf=30))
        report = clear_rt.remove(source, target, config)
        before, after = facts(source), facts(target)
    assert report.dropped_streams == ()
    assert {name: (before[name], after[name]) for name in before if before[name] != after[name]} == {}
