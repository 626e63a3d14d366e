"""The same pictures give the same packets, whatever processor encodes them."""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import replace

import pytest

from clear_rt import frames
from clear_rt.config import WriteConfig
from clear_rt.frames import encoder_options
from clear_rt.frames.info import Mastering
from clear_rt.frames.repeatable import has_avx512

RUNS = 6


def test_a_bit_rate_gives_the_same_file_every_time(clean, tmp_path):
    """With x264's AVX-512 code this failed six times of six."""
    info = frames.probe(clean)
    with closing(frames.read(info)) as reader:
        pictures = list(reader)
    digests = set()
    for run in range(RUNS):
        with frames.Writer(info, tmp_path / f"{run}.mp4", WriteConfig(bitrate=800_000)) as writer:
            for picture in pictures:
                writer.write(picture)
        digests.add(hashlib.md5((tmp_path / f"{run}.mp4").read_bytes()).hexdigest())
    assert len(digests) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("processor : 0\nflags : fpu avx2 avx512f avx512dq\n", True),
        ("processor : 0\nflags : fpu avx2\nbugs : avx512f\n", False),
        ("Features : fp asimd\n", False),
        ("", False),
    ],
)
def test_what_a_processor_says(tmp_path, text, found):
    (tmp_path / "cpuinfo").write_text(text)
    assert has_avx512(tmp_path / "cpuinfo") == found


def test_nothing_is_said_where_nothing_is_known(tmp_path):
    assert not has_avx512(tmp_path / "missing")


def test_what_is_said_stays_beside_other_options(clean, monkeypatch):
    said = {"x264-params": "asm=FMA3,BMI2,AVX2"}
    monkeypatch.setattr(encoder_options, "x264_instructions", lambda: said)
    info = replace(frames.probe(clean), mastering=Mastering(None, "1000,400"))
    found = encoder_options.options_of("libx264", WriteConfig(), info, "mp4")["x264-params"]
    assert found == "asm=FMA3,BMI2,AVX2:cll=1000,400"
    assert "x264-params" not in encoder_options.options_of(
        "libx264", WriteConfig(lossless=True), frames.probe(clean), "mp4"
    )
