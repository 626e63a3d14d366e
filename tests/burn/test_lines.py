"""Subtitle files: what must be read, what must be refused with the number of the line."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.burn.lines import Caption, disjoint, random_captions, read_captions, write_srt
from clear_rt.burn.scripts import SCRIPTS
from clear_rt.errors import InputError

SRT = """1
00:00:01,000 --> 00:00:02,500
Hello
<i>there</i>

2
00:01:00,5 --> 01:00:00.250  X1:1 X2:2
{\\an8}{\\b1}Top <font color="#fff">line</font> 3 < 4 {kept}
"""


def read(tmp_path, text, suffix=".srt", encoding="utf-8"):
    path = tmp_path / f"lines{suffix}"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return read_captions(path)


def test_srt_times_lines_tags_and_position(tmp_path):
    assert read(tmp_path, SRT) == (
        Caption(1_000_000, 2_500_000, ("Hello", "there")),
        Caption(60_500_000, 3_600_250_000, ("Top line 3 < 4 {kept}",), None, True),
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_srt_encodings_and_line_ends(tmp_path, encoding, newline):
    text = SRT.replace("Hello", "你好 Привет مرحبا").replace("\n", newline)
    captions = read(tmp_path, text, encoding=encoding)
    assert captions[0].lines == ("你好 Привет مرحبا", "there")
    assert len(captions) == 2


def test_srt_big_endian_utf16(tmp_path):
    assert read(tmp_path, b"\xfe\xff" + SRT.encode("utf-16-be"))[0].lines == ("Hello", "there")


def test_srt_without_blank_lines_numbers_or_last_newline(tmp_path):
    joined = "1\n00:00:01,000 --> 00:00:02,000\nA\n2\n00:00:03,000 --> 00:00:04,000\nB"
    bare = "\n\n00:00:01,000 --> 00:00:02,000\nA\n\n\n\n00:00:03,000-->00:00:04,000\nB"
    assert [c.lines for c in read(tmp_path, joined)] == [("A",), ("B",)]
    assert [c.lines for c in read(tmp_path, bare)] == [("A",), ("B",)]


def test_srt_keeps_lines_of_digits_and_blank_lines_inside_a_caption(tmp_path):
    text = "1\n00:00:01,000 --> 00:00:02,000\n1984\n\nafter a gap\n\n2\n00:00:03,000 --> 00:00:04,000\n42\n"
    assert [c.lines for c in read(tmp_path, text)] == [("1984", "after a gap"), ("42",)]


def test_srt_empty_captions_are_left_out_and_order_is_by_time(tmp_path):
    text = (
        "1\n00:00:05,000 --> 00:00:06,000\nlate\n\n2\n00:00:03,000 --> 00:00:04,000\n<i> </i>\n\n"
        "3\n00:00:01,000 --> 00:00:02,000\nearly\u2028\x00line\ttab\n"
    )
    assert [c.lines for c in read(tmp_path, text)] == [("early line tab",), ("late",)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("WEBVTT\n\n00:00:01,000 --> 00:00:02,000\nA\n", "line 1"),
        ("1\n00:00:01,000 --> 00:00:xx,000\nA\n", "line 2"),
        ("1\n00:00:01,000 --> 00:00:02,000\nA\n\n2\n00:00:03 --> 00:00:04\nB\n", "line 6"),
        ("1\n00:00:02,000 --> 00:00:01,000\nA\n", "line 2"),
        ("1\n00:99:02,000 --> 01:00:01,000\nA\n", "line 2"),
        ("just text", "line 1"),
        ("1\n00:00:01,000 --> 00:00:02,000\nna\u00efve\n".encode("latin-1"), "line 3"),
        ("", "no caption"),
        ("1\n00:00:01,000 --> 00:00:02,000\n\n", "no caption"),
        (b"\xff\xfea\x00b", "line 1"),
    ],
)
def test_srt_refusals_name_the_line(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected) as caught:
        read(tmp_path, text)
    assert "lines.srt" in str(caught.value)


def test_other_suffix_missing_file_and_folder_are_sentences(tmp_path):
    with pytest.raises(InputError, match=r"\.srt, \.ass or \.ssa"):
        read(tmp_path, SRT, suffix=".vtt")
    with pytest.raises(InputError, match="cannot be read"):
        read_captions(tmp_path / "absent.srt")
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_captions(tmp_path / "folder.srt")


ASS = """[Script Info]
Title: [Events] are below

[V4+ Styles]
Format: Name, Fontname
Style: Default,Arial

[Events]
Format: Layer, Start, End, Style, Text
Comment: 0,0:00:00.00,0:00:01.00,Default,not shown
Dialogue: 0,0:00:05.00,0:00:06.50,Default,Second, with {\\i1}comma{\\i0}\\Nand\\hmore{a comment}
Dialogue: 0,0:00:01.00,1:00:02.00,Default,{\\pos(3,4)\\an7}First
Dialogue: 0,0:00:08.00,0:00:09.00,Default,{\\p1}m 0 0 l 10 10{\\p0}after drawing
"""


def test_ass_order_tags_drawings_and_position(tmp_path):
    assert read(tmp_path, ASS.replace("\n", "\r\n"), ".ass", "utf-8-sig") == (
        Caption(1_000_000, 3_602_000_000, ("First",), None, True),
        Caption(5_000_000, 6_500_000, ("Second, with comma", "and more")),
        Caption(8_000_000, 9_000_000, ("after drawing",)),
    )


def test_ssa_without_format_line(tmp_path):
    text = "[Events]\nDialogue: Marked=0,0:00:01.00,0:00:02.00,Default,NTP,0,0,0,,Hi, you\n"
    assert read(tmp_path, text, ".ssa") == (Caption(1_000_000, 2_000_000, ("Hi, you",)),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hello\n", "line 1"),
        ("[Events]\nDialogue: 0,soon,0:00:02.00,Default,,0,0,0,,x\n", "line 2"),
        ("[Events]\n\nDialogue: 0,0:00:01.00\n", "line 3"),
        ("[Events]\nDialogue: 0,0:00:03.00,0:00:02.00,Default,,0,0,0,,x\n", "line 2"),
        ("[Script Info]\n", "no caption"),
    ],
)
def test_ass_refusals_name_the_line(tmp_path, text, expected):
    with pytest.raises(InputError, match=expected):
        read(tmp_path, text, ".ass")


letters = st.text(st.sampled_from("abcXYZ 你好한글éёعرب.,!?-'0123456789&;#"), min_size=1, max_size=20)
shown = letters.map(str.strip).filter(lambda text: text and not text.isdecimal())


@st.composite
def captions(draw):
    edges = draw(st.lists(st.integers(0, 400_000_000), min_size=2, max_size=12))
    edges = sorted(1000 * edge for edge in edges)
    lines = st.lists(shown, min_size=1, max_size=3).map(tuple)
    return tuple(
        Caption(start, stop, draw(lines), None, draw(st.booleans()))
        for start, stop in zip(edges[::2], edges[1::2], strict=False)
    )


@settings(max_examples=60, deadline=None)
@given(captions())
def test_srt_round_trip(tmp_path_factory, wanted):
    folder = tmp_path_factory.mktemp("srt")
    assert read(folder, write_srt(wanted)) == tuple(sorted(wanted, key=lambda c: c.start_us))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 12), st.booleans()), max_size=8))
def test_disjoint_shows_the_same_lines_at_every_time(spans):
    wanted = [Caption(a, a + n, (f"{i}",), None, top) for i, (a, n, top) in enumerate(spans)]
    wanted.sort(key=lambda caption: caption.start_us)
    flat = disjoint(wanted)
    for now in range(45):
        for top in (False, True):
            expected = [c.lines[0] for c in wanted if c.start_us <= now < c.stop_us and c.top == top]
            found = [c.lines for c in flat if c.start_us <= now < c.stop_us and c.top == top]
            assert len(found) <= 1
            assert list(found[0] if found else ()) == expected


@pytest.mark.parametrize("scripts", [("zh",), ("ar",), tuple(SCRIPTS)])
def test_random_captions_keep_their_promises(scripts):
    made = random_captions(scripts, 300_000_000, seed=7)
    assert made == random_captions(scripts, 300_000_000, seed=7)
    assert made != random_captions(scripts, 300_000_000, seed=8)
    assert made[:5] == random_captions(scripts, 600_000_000, seed=7)[:5]
    assert made[0].start_us == 0
    assert {c.script for c in made} == set(scripts)
    assert {len(c.lines) for c in made} == {1, 2}
    assert all(1_000_000 <= c.stop_us - c.start_us <= 4_000_000 for c in made)
    gaps = [b.start_us - a.stop_us for a, b in pairwise(made)]
    assert min(gaps) == 0
    assert 0.1 < sum(gap > 0 for gap in gaps) / len(gaps) < 0.45
    assert random_captions(scripts, 0, seed=7) == ()
