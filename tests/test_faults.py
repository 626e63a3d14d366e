"""Broken videos and broken places: a right result or one sentence, nothing half-written, and the rest goes on.

Bad options, an output that is the input, full disks and signals with one video are in `test_cli`; what the reader and
the writer alone refuse in `frames/test_bad_files` and `frames/test_targets`.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.packet import Packet

import clear_rt
from clear_rt import frames
from clear_rt.cli import main
from clear_rt.config import RegionConfig, RunConfig, WriteConfig
from clear_rt.errors import ClearError, ExitStatus
from tests.facts import facts
from tests.format_cases import FAST, MASK, Case, between, make, sound
from tests.frames.moving import moving_clip, moving_picture

CONTAINERS = ("mp4", "mkv", "ts", "avi", "webm")
COUNT = 24


@pytest.fixture(scope="session")
def shelf(tmp_path_factory):
    """A video of every container, with sound, its header in front, key pictures in between; and a mask for all."""
    folder = tmp_path_factory.mktemp("shelf")
    for suffix in CONTAINERS:
        codec, options = (
            ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8"}) if suffix == "webm" else ("libx264", FAST)
        )
        extra = {} if suffix == "webm" else {"bf": "0"}
        voice = {"webm": "libopus", "avi": "mp3"}.get(suffix, "aac")
        case = Case("", suffix, codec, options=options | extra | {"g": "8"}, frames=COUNT, add=(sound(voice),))
        made = make(case, folder / f"late.{suffix}")
        if suffix == "mp4":
            _with_index_in_front(made, folder / "in.mp4")
        else:
            made.rename(folder / f"in.{suffix}")
    shown = np.zeros((96, 96, 3), np.uint8)
    shown[between(MASK, 96, 96)] = 255
    frames.write_png(folder / "mask.png", shown)
    return folder


def _with_index_in_front(source, target):
    with av.open(str(source)) as old, av.open(str(target), "w", container_options={"movflags": "faststart"}) as new:
        copies = [new.add_stream_from_template(stream, opaque=True) for stream in old.streams]
        for packet in old.demux():
            if packet.size:
                packet.stream = copies[packet.stream_index]
                new.mux(packet)


@pytest.fixture
def outcome(shelf, tmp_path, capfd):
    """outcome(source, suffix) -> number of frames of the result, or the sentence: nothing else is ever left."""

    def run(source, suffix=None, mask="mask.png", name="out"):
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        target = folder / f"{name}.{suffix or Path(source).suffix[1:]}"
        asked = ["--mask", str(shelf / mask)] if mask else []
        status = main(["remove", str(source), "-o", str(target), *asked])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        if status == ExitStatus.OK:
            assert os.listdir(folder) == [target.name]
            times = [frame.time_us for frame in frames.read(target)]
            assert all(b > a for a, b in itertools.pairwise(times))
            return len(times)
        assert status in (ExitStatus.INPUT, ExitStatus.OUTPUT)
        assert (out, os.listdir(folder)) == ("", [])
        assert err.startswith("clear-rt: ")
        assert len(err.strip().splitlines()) == 1
        return err.strip()

    return run


def _readable(path):
    """How many frames of it can be read, None where reading ends in a sentence."""
    try:
        return len(list(frames.read(path)))
    except ClearError:
        return None


@pytest.mark.parametrize("suffix", CONTAINERS)
def test_cut_at_every_tenth(shelf, outcome, tmp_path, suffix):
    """All frames that are left of a container that states no length, and a sentence in the others."""
    data, results = (shelf / f"in.{suffix}").read_bytes(), []
    for tenth in range(1, 10):
        cut = tmp_path / f"cut {tenth}.{suffix}"
        cut.write_bytes(data[: len(data) * tenth // 10])
        results.append((outcome(cut), _readable(cut)))
    assert all(isinstance(found, str) if count is None else found == count for found, count in results)
    counts = [found for found, _ in results if not isinstance(found, str)]
    assert counts == sorted(counts)
    assert isinstance(results[0][0], str) or suffix == "ts"


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("suffix", CONTAINERS)
def test_damage_in_the_middle(shelf, outcome, tmp_path, suffix, seed):
    """As many frames as a reader finds in it, or a sentence where a reader stops."""
    data = bytearray((shelf / f"in.{suffix}").read_bytes())
    random = np.random.default_rng(seed)
    start = random.integers(len(data) * 2 // 5, len(data) * 3 // 5)
    data[start : start + 300] = random.bytes(300)
    broken = tmp_path / f"broken.{suffix}"
    broken.write_bytes(data)
    found, count = outcome(broken), _readable(broken)
    assert isinstance(found, str) if count is None else found == count


JUMP, ZERO, NEGATIVE = [0, 40, 80, 3_600_000, 3_600_040, 3_600_080], [0] * 6, [-200, -160, -120, -80, -40, 0]


@pytest.mark.parametrize(
    ("suffix", "stamps"),
    [("mkv", JUMP), ("nut", JUMP), ("mkv", [0, 40, 40, 40, 80, 120]), ("mkv", ZERO), ("nut", NEGATIVE)],
)
def test_broken_times(outcome, tmp_path, suffix, stamps):
    """Every frame is there once, at times that grow; each picture decodes by itself, so none may be missing."""
    path = tmp_path / f"in.{suffix}"
    with av.open(str(path), "w") as container:
        encoder = av.CodecContext.create("ffv1", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 96, 64, "yuv420p", Fraction(1, 1000)
        pictures = [moving_picture("yuv420p", 96, 64, index) for index in range(len(stamps))]
        for index, picture in enumerate(pictures):
            picture.pts, picture.time_base = 40 * index, Fraction(1, 1000)
        data = [bytes(packet) for picture in [*pictures, None] for packet in encoder.encode(picture)]
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt, stream.time_base = 96, 64, "yuv420p", Fraction(1, 1000)
        container.start_encoding()
        for stamp, one in zip(stamps, data, strict=True):
            packet = Packet(one)
            packet.pts, packet.dts, packet.time_base = stamp, stamp, Fraction(1, 1000)
            packet.is_keyframe, packet.stream = True, stream
            container.mux_one(packet)
    assert outcome(path) == len(stamps)


def test_times_that_begin_again(tmp_path, shelf):
    """Two recordings in one file of TS: the second goes on where the first has ended, picture and sound."""
    data, twice, target = (shelf / "in.ts").read_bytes(), tmp_path / "twice.ts", tmp_path / "out.ts"
    twice.write_bytes(data + data)
    config = RunConfig(region=RegionConfig(mask=shelf / "mask.png"), write=WriteConfig(lossless=True))
    assert clear_rt.remove(twice, target, config).frames == 2 * COUNT
    before, after = facts(twice), facts(target)
    assert len(after["times"]) == 2 * COUNT
    assert all(b > a for a, b in itertools.pairwise(after["times"]))
    (sound_before,), (sound_after,) = before["packets"], after["packets"]
    assert [one for _, one in sound_after] == [one for _, one in sound_before]
    assert any(b < a for (a, _), (b, _) in itertools.pairwise(sound_before))
    assert all(b > a for (a, _), (b, _) in itertools.pairwise(sound_after))


@pytest.mark.parametrize("suffix", ["mkv", "mp4"])
def test_no_times_at_all(outcome, tmp_path, suffix):
    """The bare stream of an encoder."""
    made = moving_clip(tmp_path / "in.h264", 12, options=FAST)
    assert outcome(made, suffix) == 12


@pytest.mark.parametrize("mask", ["mask.png", None])
def test_no_length(outcome, tmp_path, shelf, mask):
    """Matroska as a recorder leaves it that was cut off: the length is 0."""
    made = moving_clip(tmp_path / "made.mkv", 12, options=FAST)
    data = made.read_bytes()
    place = data.index(b"\x44\x89\x88") + 3
    stated = tmp_path / "in.mkv"
    stated.write_bytes(data[:place] + bytes(8) + data[place + 8 :])
    assert outcome(stated, mask=mask) == 12


@pytest.mark.parametrize("mask", ["mask.png", None])
@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts"])
def test_no_key_picture_at_the_start(shelf, outcome, tmp_path, suffix, mask):
    """What a decoder can show of it is all there."""
    path = tmp_path / f"in.{suffix}"
    with av.open(str(shelf / f"in.{suffix}")) as old, av.open(str(path), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for number, packet in enumerate(packet for packet in old.demux(old.streams.video[0]) if packet.size):
            if number >= 2:
                packet.stream = copy
                new.mux_one(packet)
    found, count = outcome(path, mask=mask), _readable(path)
    assert found == count
    assert count is not None
    assert count >= COUNT - 8


@pytest.mark.parametrize(
    ("first", "second"),
    [(("yuv420p", (96, 64)), ("yuv444p", (96, 64))), (("yuv420p", (96, 64)), ("yuv420p", (64, 96)))],
)
def test_pictures_that_change_on_the_way(outcome, tmp_path, first, second):
    """Another pixel format, another size: the sentence says at which frame."""
    parts = [
        moving_clip(tmp_path / f"{number}.ts", 6, pixel_format=pixel_format, size=size, options=FAST).read_bytes()
        for number, (pixel_format, size) in enumerate((first, second))
    ]
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    assert "at frame 6; cut the file there" in outcome(tmp_path / "both.ts")


def test_a_pipe_as_input(outcome, tmp_path):
    """Nobody writes into it, and nobody waits."""
    os.mkfifo(tmp_path / "in.mkv")
    assert "save the video to a file first" in outcome(tmp_path / "in.mkv")


NAMES = [
    "a b",
    'it\'s "so"',
    "two\nlines",
    "-o",
    "ünï 終",
    "%03d",
    "file:x",
    "a|b;c&d",
    "*[1]?",
    os.fsdecode(b"\xff\xfe"),
]


@pytest.mark.parametrize("name", NAMES, ids=range(len(NAMES)))
def test_awkward_names(shelf, outcome, tmp_path, monkeypatch, name):
    """Of input and output, from where the file lies."""
    folder = tmp_path / "names"
    folder.mkdir()
    shutil.copy(shelf / "in.mkv", folder / f"{name}.mkv")
    monkeypatch.chdir(folder)
    assert outcome(f"./{name}.mkv", name=name) == COUNT


def test_a_name_with_a_dash_in_front(shelf, tmp_path, monkeypatch, capfd):
    """After `--`, as everywhere."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(shelf / "in.mkv", "-i.mkv")
    asked = ["remove", "--mask", str(shelf / "mask.png"), "--output", "-o.mkv", "--", "-i.mkv"]
    assert main(asked) == 0, capfd.readouterr().err
    assert len(list(frames.read("./-o.mkv"))) == COUNT


UNPRIVILEGED = """
import os, sys
from clear_rt.cli import main
# All that is needed is imported by then, wherever it lies.
status = main(["remove", *sys.argv[1:-1], sys.argv[-1] + ".first.mkv"]) if os.geteuid() == 0 else 0
if os.geteuid() == 0:
    os.unlink(sys.argv[-1] + ".first.mkv")
    os.setgid(65534)
    os.setuid(65534)
sys.exit(status or main(["remove", *sys.argv[1:]]))
"""


@pytest.fixture
def shut():
    """A folder that everybody may enter and nobody may write in, with one beside it where all may."""
    with tempfile.TemporaryDirectory() as base:
        for name, mode in (("shut", 0o755), ("open", 0o777)):
            (Path(base) / name).mkdir()
            (Path(base) / name).chmod(mode)
        Path(base).chmod(0o755)
        yield Path(base) / "shut"
        (Path(base) / "shut").chmod(0o755)


def _run(code, *arguments):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120, cwd=Path(__file__).parents[1]
    )


def test_folders_that_may_only_be_read(shelf, shut):
    """As the place of the input it is no matter, as that of the output it is one sentence."""
    for name in ("in.mkv", "mask.png"):
        shutil.copy(shelf / name, shut / name)
        (shut / name).chmod(0o444)
    shut.chmod(0o555)
    asked = [shut / "in.mkv", "--mask", shut / "mask.png", "--output"]
    done = _run(UNPRIVILEGED, *asked, shut / "out.mkv")
    assert done.returncode == ExitStatus.OUTPUT, done.stderr
    assert done.stderr.startswith("clear-rt: writing into ")
    assert "is not permitted" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    done = _run(UNPRIVILEGED, *asked, shut.parent / "open" / "out.mkv")
    assert done.returncode == 0, done.stderr
    assert len(list(frames.read(shut.parent / "open" / "out.mkv"))) == COUNT
    assert sorted(os.listdir(shut)) == ["in.mkv", "mask.png"]


def _folder_of(shelf, root):
    """Good videos among bad ones; returns how many are bad."""
    root.mkdir()
    for name in ("a good.mp4", "m good.mkv", "z good.ts"):
        shutil.copy(shelf / f"in.{name[-3:].lstrip('.')}", root / name)
    whole = (shelf / "in.mkv").read_bytes()
    (root / "b cut.mkv").write_bytes(whole[: len(whole) // 3])
    (root / "c cut.mp4").write_bytes((shelf / "in.mp4").read_bytes()[:2000])
    (root / "d empty.avi").touch()
    (root / "e text.mov").write_text("no video\n" * 99)
    parts = [moving_clip(root / "part.ts", 3, size=size, options=FAST).read_bytes() for size in ((96, 64), (64, 64))]
    (root / "part.ts").write_bytes(b"".join(parts))
    return 5


def test_the_rest_of_a_folder_goes_on(shelf, tmp_path, capfd):
    """The status is how many failed, each has its sentence, and the others are complete."""
    bad = _folder_of(shelf, tmp_path / "in")
    os.mkfifo(tmp_path / "in" / "pipe.mkv")
    asked = ["remove", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--mask", str(shelf / "mask.png"), "--json"]
    assert main(asked) == bad
    out, err = capfd.readouterr()
    told = {Path(one["source"]).name: one["outcome"] for one in json.loads(out)}
    assert [name for name, said in told.items() if said == "done"] == ["a good.mp4", "m good.mkv", "z good.ts"]
    assert sorted(told.values()).count("failed") == bad
    assert [line.startswith("clear-rt: ") for line in err.splitlines()] == [True] * bad
    assert sorted(os.listdir(tmp_path / "out")) == ["a good.mp4", "m good.mkv", "z good.ts"]
    assert all(len(list(frames.read(path))) == COUNT for path in (tmp_path / "out").iterdir())


LITTLE_ROOM = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from clear_rt.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_video_too_large_for_the_disk_stops_no_other(shelf, tmp_path):
    """RLIMIT_FSIZE stands in for the disk."""
    source, output = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    rng, large = np.random.default_rng(0), []
    for index in range(8):
        noise = rng.integers(0, 256, (192, 192), np.uint8)
        picture = av.VideoFrame.from_ndarray(noise, "yuv420p")
        picture.pts, picture.time_base = index, Fraction(1, 25)
        large.append(picture)
    with av.open(str(source / "a large.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 192, 128, "yuv420p"
        for picture in [*large, None]:
            container.mux(stream.encode(picture))
    shutil.copy(shelf / "in.mkv", source / "b small.mkv")
    # Eight frames of noise are as large as their samples, and the small video is smaller than its own.
    limit = 8 * 192 * 128 * 3 // 2 * 3 // 4
    assert (source / "b small.mkv").stat().st_size < limit // 2
    done = _run(LITTLE_ROOM, limit, "remove", source, "-o", output, "--mask", shelf / "mask.png")
    assert done.returncode == 1, done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "make room" in done.stderr
    assert os.listdir(output) == ["b small.mkv"]
    assert len(list(frames.read(output / "b small.mkv"))) == COUNT


ENDED_LATE = """
import os, signal, sys, threading
def watch():
    while not any(name.startswith(".b") for name in os.listdir(sys.argv[1])): pass
    os.kill(os.getpid(), signal.SIGTERM)
threading.Thread(target=watch, daemon=True).start()
from clear_rt.cli import main
sys.exit(main(sys.argv[2:]))
"""


def test_a_signal_within_a_folder(shelf, tmp_path):
    """What was complete stays, what was being written is gone, and what comes after is not begun."""
    source, output = tmp_path / "in", tmp_path / "out"
    for folder in (source, output):
        folder.mkdir()
    for name in ("a.mkv", "b.mkv", "c.mkv"):
        shutil.copy(shelf / "in.mkv", source / name)
    done = _run(ENDED_LATE, output, "remove", source, "-o", output, "--mask", shelf / "mask.png")
    assert done.returncode == ExitStatus.TERMINATED, done.stderr
    assert done.stderr.strip() == "clear-rt: terminated; an output appears complete or not at all"
    assert [name for name in os.listdir(output) if not name.startswith(".")] == ["a.mkv"]
    assert len(list(frames.read(output / "a.mkv"))) == COUNT
    assert 128 + signal.SIGTERM == ExitStatus.TERMINATED
