"""What may stand where the output goes, what a container cannot hold, and the words for it."""

import errno
import os
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames import (
    GRAY_LOSSLESS,
    RGB_TO_WATCH,
    PlainWriter,
    Writer,
    check_target,
    check_writable,
    copy,
    copyable,
    probe,
    read,
    same_place,
)
from clear_rt.frames.atomic import Partial
from clear_rt.frames.failures import remedy

ONE = 1 << 16
MIRRORED = (-ONE, 0, 0, 0, ONE, 0, 0, 0, 1 << 30)
TURNED = (0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30)


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def shown(matrix):
    return lambda stream: stream.set_display_matrix(matrix)


def test_two_writers_of_one_target_never_share_a_partial_file(tmp_path):
    target = tmp_path / "out.mkv"
    paths = {Partial(target).path.name for _ in range(50)}
    assert len(paths) == 50
    assert all(name.startswith(".") and ".partial-" in name for name in paths)
    form, size = GRAY_LOSSLESS, (16, 16)
    with (
        PlainWriter(target, *size, Fraction(25), form) as first,
        PlainWriter(target, *size, Fraction(25), form) as last,
    ):
        for index in range(3):
            first.write(np.full((16, 16), 200, np.uint8), 40_000 * index)
            last.write(np.full((16, 16), 100, np.uint8), 40_000 * index)
    assert [int(frame.planes[0].samples[0, 0]) for frame in read(target)] == [200] * 3
    assert names(tmp_path) == ["out.mkv"]


def test_same_place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "later.mkv").symlink_to(tmp_path / "out.mkv")
    for name in ("out.mkv", "./out.mkv", "link/out.mkv", "link/../" + tmp_path.name + "/out.mkv", "later.mkv"):
        assert same_place(tmp_path / "out.mkv", Path(name))
    assert not same_place(tmp_path / "out.mkv", tmp_path / "out.mp4")


@pytest.mark.parametrize("old", [None, b"old"])
@pytest.mark.parametrize(("form", "name"), [(GRAY_LOSSLESS, "out.mkv"), (RGB_TO_WATCH, "out.mp4")])
def test_plain_writer_without_a_frame_leaves_no_trace(tmp_path, form, name, old):
    if old:
        (tmp_path / name).write_bytes(old)
    with PlainWriter(tmp_path / name, 64, 48, Fraction(25), form):
        pass
    assert names(tmp_path) == ([name] if old else [])
    assert not old or (tmp_path / name).read_bytes() == old


@pytest.mark.parametrize("container", ["mp4", "mkv", "ts", "nut"])
def test_into_avi_from_avi_only(clip, tools, tmp_path, container):
    source = clip(f"in.{container}", frames=3, codec="libx264")
    target = tmp_path / "out.avi"
    assert not copyable(probe(source), target)
    with pytest.raises(OutputError, match=r"into AVI from AVI only.*extension of the input"):
        copy(source, target)
    assert names(tmp_path) == [source.name]
    avi = clip("in.avi", frames=3, codec="libx264", options={"bf": "0"})
    assert copyable(probe(avi), target)
    assert not copyable(probe(avi), tmp_path / "out.mkv")
    copy(avi, target)
    assert tools.same_samples(tools.samples(avi), tools.samples(target))


@pytest.mark.parametrize(
    ("codec", "pixel_format", "source", "target"),
    [
        ("libvpx-vp9", "yuv420p", "mp4", "ts"),
        ("mpeg4", "yuv420p", "mp4", "ts"),
        ("rawvideo", "yuv420p", "avi", "avi"),
        ("rawvideo", "yuv420p", "mkv", "nut"),
    ],
)
def test_picture_that_would_not_come_back_is_not_copied(clip, tmp_path, codec, pixel_format, source, target):
    info = probe(clip(f"in.{source}", pixel_format, frames=3, codec=codec))
    assert not copyable(info, tmp_path / f"out.{target}")
    assert names(tmp_path) == [f"in.{source}"]


@pytest.mark.parametrize(
    ("codec", "pixel_format", "options"),
    [
        ("libx264", "yuv420p", {}),
        ("libx264", "yuv444p10le", {}),
        ("libx264", "yuv420p", {"flags": "+ildct+ilme", "x264-params": "tff=1"}),
        ("libx264", "yuv420p", {"x264-params": "open-gop=1:intra-refresh=1"}),
        ("libx265", "yuv420p10le", {"x265-params": "log-level=none"}),
        ("mpeg2video", "yuv420p", {}),
    ],
)
@pytest.mark.parametrize("container", ["mp4", "mkv", "mov", "ts"])
def test_usual_pictures_can_be_copied(clip, tmp_path, codec, pixel_format, options, container):
    info = probe(clip(f"in.{container}", pixel_format, 64, 64, frames=12, codec=codec, options=options))
    for target in ("mp4", "mkv", "ts"):
        assert copyable(info, tmp_path / f"out.{target}")


@pytest.mark.parametrize("matrix", [TURNED, MIRRORED])
@pytest.mark.parametrize("container", ["ts", "avi", "nut", "flv"])
def test_turned_or_mirrored_picture_is_refused_where_it_would_be_lost(clip, tmp_path, matrix, container):
    source = clip("in.mp4", frames=3, codec="libx264", setup=shown(matrix))
    info, target = probe(source), tmp_path / f"out.{container}"
    words = "turned by 90 degrees, which" if matrix == TURNED else "shown mirrored, which"
    assert not copyable(info, target)
    with pytest.raises(OutputError, match=words):
        copy(source, target)
    with pytest.raises(OutputError, match=words), Writer(info, target, WriteConfig()):
        pass
    with pytest.raises(OutputError, match=words):
        check_writable(info, target, WriteConfig())
    assert names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("matrix", [TURNED, MIRRORED])
@pytest.mark.parametrize("container", ["mp4", "mkv", "mov"])
def test_turned_or_mirrored_picture_survives_both_ways(clip, tools, tmp_path, matrix, container):
    source = clip("in.mp4", frames=3, codec="libx264", setup=shown(matrix))
    info, target = probe(source), tmp_path / f"out.{container}"
    assert copyable(info, target)
    copy(info, target)
    assert probe(target).orientation == info.orientation
    tools.rewrite(source, target)
    assert probe(target).orientation == info.orientation


@pytest.mark.parametrize("name", ["x" * 300 + ".mp4", "y" * 300 + "/out.mp4"])
def test_name_too_long_is_one_sentence(clip, tmp_path, name):
    source = clip("in.mp4", frames=1, codec="libx264")
    info = probe(source)
    for refused in (
        lambda: check_target(source, tmp_path / name),
        lambda: check_writable(info, tmp_path / name, WriteConfig()),
        lambda: copy(source, tmp_path / name),
    ):
        with pytest.raises(OutputError, match=r"the name is too long; choose a shorter name$"):
            refused()


def test_circle_of_links_is_one_sentence(tmp_path):
    (tmp_path / "a.mp4").symlink_to(tmp_path / "b.mp4")
    (tmp_path / "b.mp4").symlink_to(tmp_path / "a.mp4")
    with pytest.raises(OutputError, match="circle"):
        check_target(tmp_path / "in.mp4", tmp_path / "a.mp4")


def test_link_into_a_missing_folder_is_refused(tmp_path):
    (tmp_path / "out.mp4").symlink_to(tmp_path / "none" / "out.mp4")
    with pytest.raises(OutputError, match="none, but it does not exist"):
        check_target(tmp_path / "in.mp4", tmp_path / "out.mp4")


SHUT_FOLDER = """
import os, sys
from pathlib import Path
from clear_rt.errors import OutputError
from clear_rt.frames import check_target

if os.geteuid() == 0:
    os.setuid(65534)
try:
    check_target(Path("in.mp4"), Path(sys.argv[1]))
except OutputError as error:
    print(error)
"""


def test_folder_that_may_not_be_entered_is_one_sentence(tmp_path):
    shut = tmp_path / "shut"
    (shut / "inner").mkdir(parents=True)
    shut.chmod(0o600)
    command = [sys.executable, "-c", SHUT_FOLDER, str(shut / "inner" / "out.mp4")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    shut.chmod(0o700)
    assert (done.returncode, done.stderr) == (0, "")
    assert "permission was denied; change its permissions" in done.stdout


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_room_helps_against_a_full_disk(code):
    assert "make room" in remedy(OSError(code, "text"))


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (PermissionError(errno.EACCES, "text"), "permissions"),
        (OSError(errno.ENAMETOOLONG, "text"), "shorter name"),
        (av.InvalidDataError(-1, "text"), "another output container"),
        (OSError(errno.EBUSY, "text"), "another place"),
    ],
)
def test_room_helps_against_nothing_else(error, advice):
    assert "room" not in remedy(error)
    assert advice in remedy(error)


def test_what_the_muxer_refuses_gets_advice_on_containers(clip, tmp_path):
    source = clip("in.mp4", frames=3, codec="libx264")
    with pytest.raises(OutputError, match=r"failed: .*; choose another output container, the incomplete file"):
        copy(source, tmp_path / "out.webm")


@pytest.mark.parametrize(
    ("name", "change", "words"),
    [
        ("out.xyz", {}, "ending in one of"),
        ("none/out.mp4", {}, "does not exist"),
        ("in.mp4", {}, "is the input itself"),
        ("out.3gp", {"stored_width_px": 70_000}, "cannot hold yuv420p pictures of 70000x48"),
        ("out.ts", {"pixel_format": "gbrap12le"}, "cannot hold gbrap12le"),
    ],
)
def test_check_writable_and_writer_refuse_the_same(clip, tmp_path, name, change, words):
    info = replace(probe(clip("in.mp4", frames=1, codec="libx264")), **change)
    before = (tmp_path / "in.mp4").read_bytes()
    sentences = []
    with pytest.raises(OutputError, match=words) as caught:
        check_writable(info, tmp_path / name, WriteConfig())
    sentences.append(str(caught.value))
    with pytest.raises(OutputError, match=words) as caught, Writer(info, tmp_path / name, WriteConfig()):
        pass
    sentences.append(str(caught.value))
    assert len(set(sentences)) == 1
    assert names(tmp_path) == ["in.mp4"]
    assert (tmp_path / "in.mp4").read_bytes() == before


def test_check_writable_passes_and_touches_nothing(clip, tmp_path):
    info = probe(clip("in.mp4", frames=1, codec="libx264"))
    (tmp_path / "out.mkv").write_bytes(b"old")
    for lossless in (False, True):
        check_writable(info, tmp_path / "out.mkv", WriteConfig(lossless=lossless))
    assert names(tmp_path) == ["in.mp4", "out.mkv"]
    assert (tmp_path / "out.mkv").read_bytes() == b"old"
    assert os.access(tmp_path / "out.mkv", os.W_OK)
