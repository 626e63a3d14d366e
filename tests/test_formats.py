"""Real formats through a removal: nothing changes but the text, or one sentence says what (docs/FORMATS.md)."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

import clear_rt
from clear_rt import frames
from clear_rt.config import ReadConfig, RegionConfig, RunConfig, WriteConfig
from clear_rt.errors import ClearError
from tests.facts import facts, since_first
from tests.format_cases import CASES, MASK, MASK_8K, TEXT, TEXT_8K, Case, between, make, make_mask
from tests.formats_table import TABLE, table

# Of a picture: as far as what replaces the text is blended in around the mask, at most 2 of 32 rows of chroma.
_EDGE = Fraction(1, 16)


@pytest.fixture(scope="session")
def plain(tmp_path_factory):
    """The facts of a file that has nothing special."""
    case = Case("plain", "mp4", "libx264")
    return facts(make(case, tmp_path_factory.mktemp("plain") / "in.mp4"))


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_nothing_changes_but_the_text(case, plain, tmp_path):
    """All facts of the file, and every sample of every frame outside the region that was edited."""
    source, target = make(case, case.source(tmp_path)), case.result(tmp_path)
    mask = make_mask(tmp_path / "mask.mkv", case)
    config = RunConfig(region=RegionConfig(mask=mask), read=case.read, write=WriteConfig(lossless=True))
    if case.refused:
        with pytest.raises(ClearError, match=case.refused) as caught:
            clear_rt.remove(source, target, config)
        assert "\n" not in str(caught.value)
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
            [source.relative_to(tmp_path).parts[0], mask.name]
        )
        return
    report = clear_rt.remove(source, target, config)
    before, after = facts(source, case.read), facts(target, ReadConfig() if case.target else case.read)
    if "ts" in (case.suffix, case.target):
        before, after = since_first(before), since_first(after)
    assert [name for name in case.proves if before[name] == plain[name]] == []
    expected = {*case.loses, *(["codec"] if case.becomes else [])}
    assert {name for name in before if before[name] != after[name]} == expected
    assert after["codec"] == (case.becomes or before["codec"])
    assert len(report.dropped_streams) == len(case.says)
    assert all(words in sentence for words, sentence in zip(case.says, report.dropped_streams, strict=True))
    _check_samples(case, source, target, report)


def _check_samples(case, source, target, report):
    strokes, reach = (TEXT_8K, MASK_8K) if case.is_8k else (TEXT, MASK)
    reach = reach[0] - _EDGE, reach[1] + _EDGE
    assert report.frames == case.frames
    assert report.frames_changed == len(case.text_frames)
    read = ReadConfig() if case.target else case.read
    pairs = zip(frames.read(frames.probe(source, case.read)), frames.read(frames.probe(target, read)), strict=True)
    for was, now in pairs:
        has_text = was.index in case.text_frames
        for a, b in zip(was.planes, now.planes, strict=True):
            old, new = a.samples >> a.shift, b.samples >> b.shift
            assert (a.kind, a.bits, old.shape) == (b.kind, b.bits, new.shape)
            differs = old != new
            if has_text:
                differs[between(reach, *old.shape)] = False
            assert not differs.any()
            if has_text and a.kind in ("luma", "rgb"):
                box, brightest = between(strokes, *old.shape), (1 << a.bits) - 1
                assert np.percentile(old[box], 75) > 0.85 * brightest
                assert np.percentile(new[box], 90) < 0.85 * brightest


def test_the_table_in_the_documents_is_that_of_the_cases():
    """`python -m tests.formats_table` writes it; here it is compared."""
    assert TABLE.read_text(encoding="utf-8") == table()


def test_no_two_cases_have_one_name():
    """So that the table names each of them."""
    assert len({case.name for case in CASES}) == len(CASES) >= 30
