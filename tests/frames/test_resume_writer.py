"""What is left of a writer that was interrupted, and that going on from there gives what was to come anyway."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from clear_rt.config import WriteConfig
from clear_rt.errors import InputError, OutputError
from clear_rt.frames import SegmentedWriter, Work, probe, read
from tests.frames.moving import every_packet, hashed, moving_clip, times_us, write, writing

ROOT = Path(__file__).parents[2]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def in_another_process(*arguments, **options):
    return subprocess.Popen(
        [sys.executable, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=ROOT,
        text=True,
        **options,
    )


@pytest.fixture
def job(tmp_path):
    """A clip of 30 frames, where its result goes, and where the work on that is kept."""
    source = moving_clip(tmp_path / "in.mp4", 30, options={"bf": "2"})
    return source, tmp_path / "out.mp4", tmp_path / ".out.mp4.clear_rt-work"


@pytest.fixture
def interrupted(job, tmp_path):
    """The same, stopped after three segments of seven frames; and the packets of the uninterrupted result."""
    source, target, folder = job
    write(source, target, crf=30)
    expected = every_packet(target)
    target.unlink()
    with pytest.raises(KeyboardInterrupt):
        write(source, target, stop=25, crf=30)
    assert names(tmp_path) == [folder.name, "in.mp4"]
    assert names(folder) == ["000000.segment", "000001.segment", "000002.segment", "lock", "state.json"]
    return source, target, folder, expected


@pytest.mark.parametrize(("container", "frames", "seed"), [("mp4", 50, 1), ("mkv", 30, 2), ("ts", 30, 3)])
def test_it_may_die_at_any_moment(tmp_path, container, frames, seed):
    deaths = 20 if container == "mp4" else 6
    source = moving_clip(tmp_path / f"in.{container}", frames, size=(160, 96))
    target = tmp_path / f"out.{container}"
    write(source, target, crf=30, segment_frames=6)
    expected = hashed(target)
    target.unlink()
    with in_another_process("-m", "tests.frames.dying", source, target, seed, deaths) as process:
        said, complaints = process.communicate(timeout=300)
    assert (process.returncode, complaints) == (0, "")
    told = json.loads(said)
    ended = [end["ended"] for end in told["ends"]]
    assert set(ended) <= {0, -signal.SIGKILL, -signal.SIGALRM}
    assert ended[-1] == 0
    assert sum(end != 0 for end in ended) >= deaths // 2
    assert len(set(told["results"])) == 1
    assert hashed(target) == expected
    assert names(tmp_path) == [source.name, target.name]


def test_it_goes_on_after_the_last_finished_segment(interrupted, tmp_path):
    source, target, _, expected = interrupted
    info = probe(source)
    with writing(source, target, crf=30) as writer:
        assert writer.finished_frames == 21
        frames = [frame for frame in read(info) if frame.index >= writer.finished_frames]
        for frame in frames:
            writer.write(frame)
    assert every_packet(target) == expected
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


def test_who_knows_nothing_of_it_writes_all_frames_again(interrupted):
    source, target, _, expected = interrupted
    write(source, target, crf=30)
    assert every_packet(target) == expected


@pytest.mark.parametrize("damage", ["cut", "emptied", "changed", "lost"])
def test_damaged_segments_are_made_again(interrupted, damage):
    source, target, folder, expected = interrupted
    path = folder / "000001.segment"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes({"cut": bytes(data[:-30]), "emptied": b"", "changed": bytes(data)}[damage])
    (folder / "000003.segment.torn").write_bytes(b"torn")
    info = probe(source)
    with writing(source, target, crf=30) as writer:
        assert writer.finished_frames == 7
        assert names(folder) == ["000000.segment", "lock", "state.json"]
        for frame in read(info):
            writer.write(frame)
    assert every_packet(target) == expected


@pytest.mark.parametrize("state", [b"", b"{}", b"[]", b'{"format": 0}', b'{"format": 1, "key": 3, "threads": 2}'])
def test_work_without_its_state_is_nobodys(interrupted, state):
    source, target, folder, expected = interrupted
    (folder / "state.json").write_bytes(state)
    with writing(source, target, crf=30) as writer:
        assert writer.finished_frames == 0
        for frame in read(source):
            writer.write(frame)
    assert every_packet(target) == expected


def leave_stored(source, target, options, stored, segment=None):
    """A work folder with `stored` in it, and something bound to a segment that is not finished."""

    def interrupted():
        with Work(source, target, options) as work:
            for name, data in stored.items():
                work.store(name, data)
            if segment is not None:
                work.store("state", b"unfinished", segment)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


@pytest.mark.parametrize("change", ["option", "time", "content", "output"])
def test_work_on_another_job_is_discarded(interrupted, tmp_path, change):
    source, target, folder, _ = interrupted
    options = {"write": {"crf": 30}}
    leave_stored(source, target, options, {"scan": b"found"})
    found = source.stat()
    if change == "option":
        options = {"write": {"crf": 31}}
    elif change == "time":
        os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns + 1))
    elif change == "content":
        data = bytearray(source.read_bytes())
        data[-1] ^= 1
        source.write_bytes(data)
        os.utime(source, ns=(found.st_atime_ns, found.st_mtime_ns))
    else:
        target = tmp_path / "other.mp4"
        folder.rename(tmp_path / ".other.mp4.clear_rt-work")
    with Work(source, target, options) as work:
        assert work.load("scan") is None
        words = {"option": "option write crf was 30 and is 31", "time": "time of change", "output": "output was"}
        assert words.get(change, "input's content was") in work.discarded
    assert names(tmp_path) == ["in.mp4"]


def test_the_same_job_finds_what_it_stored(job):
    source, target, folder = job
    leave_stored(source, target, {}, {"scan": b"old"})
    leave_stored(source, target, {}, {"scan": b"found"}, 0)
    assert names(folder) == ["000000-state.stored", "all-scan.stored", "lock", "state.json"]
    with Work(source, target, {}) as work:
        assert work.discarded is None
        assert work.load("scan") == b"found"
        assert work.load("state", 0) is None
        assert work.load("nothing") is None
        with pytest.raises(ValueError, match="expected a name"):
            work.store("../scan", b"")
    assert not folder.exists()


def test_what_is_bound_to_a_segment_comes_back_with_it(job):
    source, target, _ = job
    info, config = probe(source), WriteConfig(crf=30)

    def run(stop):
        with (
            Work(source, target, {}) as work,
            SegmentedWriter(info, target, config, work, segment_frames=7) as writer,
        ):
            kept = [work.load("state", number) for number in range(5)]
            for frame in read(info):
                if frame.index == stop:
                    raise KeyboardInterrupt
                if frame.index % 7 == 6 and frame.index >= writer.finished_frames:
                    work.store("state", f"after {frame.index}".encode(), frame.index // 7)
                writer.write(frame)
            return kept

    with pytest.raises(KeyboardInterrupt):
        run(16)
    assert run(None) == [b"after 6", b"after 13", None, None, None]
    assert len(times_us(target)) == 30


def test_nothing_is_kept_where_there_is_nothing_to_go_on_from(job, tmp_path):
    source, target, _ = job
    with pytest.raises(KeyboardInterrupt):
        write(source, target, stop=6)
    assert names(tmp_path) == ["in.mp4"]


def test_nothing_is_kept_of_an_input_that_ends_badly(job, tmp_path):
    source, target, _ = job

    def fail():
        with writing(source, target) as writer:
            for frame in read(source):
                writer.write(frame)
            raise InputError("damaged")

    with pytest.raises(InputError):
        fail()
    assert names(tmp_path) == ["in.mp4"]


HOLD = """
import sys
from pathlib import Path
from clear_rt.frames import Work
with Work(Path(sys.argv[1]), Path(sys.argv[2]), {}) as work:
    work.store("scan", b"found")
    print("ready", flush=True)
    sys.stdin.read()
"""


def test_two_processes_and_a_dead_one(job, tmp_path):
    source, target, folder = job
    with in_another_process("-c", HOLD, source, target) as process:
        assert process.stdout.readline() == "ready\n"
        before = names(folder)
        with pytest.raises(OutputError, match=rf"^another process is writing {target}; wait for it to end or choose"):
            write(source, target)
        with pytest.raises(OutputError, match="another process"), Work(source, target, {}):
            pass
        assert names(folder) == before
        process.kill()
    with Work(source, target, {}) as work:
        assert work.load("scan") == b"found"
    write(source, target)
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from clear_rt.errors import OutputError
from tests.frames.moving import write

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
source, target, limit = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
try:
    write(source, target, lossless=True)
except OutputError as error:
    print(error)
"""


# Bytes that a file may have: no state, no segment, all segments but not the result.
@pytest.mark.parametrize(("limit", "finished"), [(100, 0), (9_000, 0), (100_000, 5)])
def test_full_disk(job, tmp_path, limit, finished):
    source, target, folder = job
    write(source, target, lossless=True)
    expected = every_packet(target)
    sizes = [p[-1] for p in expected]
    assert sum(map(len, sizes)) > 110_000
    target.write_bytes(b"old")
    with in_another_process("-c", FULL_DISK, source, target, limit) as process:
        said, complaints = process.communicate(timeout=60)
    assert (process.returncode, complaints) == (0, "")
    assert "the file would exceed the largest size allowed here; make room or choose another place" in said
    assert said.count("\n") == 1
    assert target.read_bytes() == b"old"
    kept = [f"00000{number}.segment" for number in range(finished)]
    assert names(tmp_path) == ([folder.name] if finished else []) + ["in.mp4", "out.mp4"]
    assert not finished or names(folder) == [*kept, "lock", "state.json"]
    write(source, target, lossless=True)
    assert every_packet(target) == expected


def test_a_place_that_takes_no_folder(job, tmp_path):
    source, target, folder = job
    folder.write_bytes(b"in the way")
    with pytest.raises(OutputError, match="expected a work folder at"):
        write(source, target)
    folder.unlink()
    shutil.rmtree(tmp_path / "none", ignore_errors=True)
    with pytest.raises(OutputError, match="does not exist"):
        write(source, tmp_path / "none" / "out.mp4")
    assert names(tmp_path) == ["in.mp4"]


@pytest.mark.parametrize("name", ["a 'b' \"c\"\n.mp4", "ü終.mp4", "x" * 251 + ".mp4"])
def test_strange_names(job, tmp_path, name):
    source, _, _ = job
    with pytest.raises(KeyboardInterrupt):
        write(source, tmp_path / name, stop=15)
    write(source, tmp_path / name)
    assert names(tmp_path) == sorted(["in.mp4", name])
