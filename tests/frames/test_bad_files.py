"""Every bad input and every failing output is one sentence; nothing half-written stays, the old target does."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from clear_rt.config import WriteConfig
from clear_rt.errors import InputError, OutputError
from clear_rt.frames import Writer, copy, probe, read


def refuses(path, words):
    with pytest.raises(InputError, match=words) as caught:
        list(read(path))
    message = str(caught.value)
    assert "\n" not in message
    assert not message.endswith(".")
    assert ". " not in message.replace(str(path), "")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def test_missing_directory_empty_and_noise(tmp_path):
    refuses(tmp_path / "none.mp4", "nothing is there")
    refuses(tmp_path, "is a directory")
    (tmp_path / "empty.mp4").touch()
    refuses(tmp_path / "empty.mp4", "empty")
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(50_000))
    refuses(tmp_path / "noise.mp4", "none that FFmpeg knows|no frame")
    (tmp_path / "text.mp4").write_text("no video\n" * 500)
    refuses(tmp_path / "text.mp4", "expected a video")
    os.mkfifo(tmp_path / "pipe.mp4")
    refuses(tmp_path / "pipe.mp4", "pipe")
    refuses(tmp_path / "none.mp4" / "x.mp4", "nothing is there")


def test_a_playlist_cannot_reach_the_network(tmp_path):
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(text)
    refuses(tmp_path / "list.m3u8", "expected a video|cut short|no frame")


@pytest.mark.parametrize("cover", [False, True])
def test_sound_only(tmp_path, cover):
    path = tmp_path / "sound.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48000)
        if cover:
            art = container.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt, art.disposition = 16, 16, "yuvj420p", 1 << 10
            picture = av.VideoFrame(16, 16, "yuvj420p")
            container.mux([*art.encode(picture), *art.encode(None)])
        for index in range(10):
            frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
            frame.sample_rate, frame.pts = 48000, 1024 * index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    refuses(path, "cover art only" if cover else "sound only")


@pytest.mark.parametrize("pixel_format", ["pal8", "monow"])
def test_unsupported_pixel_format(tmp_path, pixel_format):
    path = tmp_path / "in.avi"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("png", rate=25)
        stream.width, stream.height, stream.pix_fmt = 16, 16, "monob" if pixel_format == "monow" else pixel_format
        picture = av.VideoFrame(16, 16, stream.pix_fmt)
        container.mux([*stream.encode(picture), *stream.encode(None)])
    refuses(path, "pixel format")


def cut(source, target, share):
    data = Path(source).read_bytes()
    Path(target).write_bytes(data[: int(len(data) * share)])
    return target


@pytest.mark.parametrize("share", [0.3, 0.6, 0.8])
def test_cut_mkv_and_avi(clip, tmp_path, share):
    for container in ("mkv", "avi"):
        source = clip(f"in.{container}", frames=100, codec="mpeg4")
        refuses(cut(source, tmp_path / f"cut.{container}", share), "cut short|damaged|none that FFmpeg")


def test_cut_mp4_without_and_with_its_index(clip, tools, tmp_path):
    source = clip("in.mp4", frames=100, codec="libx264")
    refuses(cut(source, tmp_path / "cut.mp4", 0.6), "without its index")
    with (
        av.open(str(source)) as old,
        av.open(str(tmp_path / "fast.mp4"), "w", container_options={"movflags": "faststart"}) as new,
    ):
        stream = new.add_stream_from_template(old.streams.video[0], opaque=True)
        for packet in old.demux():
            if packet.size:
                packet.stream = stream
                new.mux(packet)
    assert len(list(read(tmp_path / "fast.mp4"))) == 100
    refuses(cut(tmp_path / "fast.mp4", tmp_path / "cut.mp4", 0.6), "cut short|damaged")


def test_damaged_middle_is_no_crash(clip, tmp_path):
    source = clip("in.mkv", frames=50, codec="ffv1")
    data = bytearray(source.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    (tmp_path / "bad.mkv").write_bytes(data)
    try:
        count = len(list(read(tmp_path / "bad.mkv")))
    except InputError:
        return
    assert count >= 48


def test_size_change_in_the_middle(tools, tmp_path):
    parts = []
    for name, width_px in (("a", 64), ("b", 96)):
        pictures = [tools.make_picture("yuv420p", width_px, 48, seed) for seed in range(4)]
        parts.append(tools.encode(tmp_path / f"{name}.ts", pictures, codec="libx264").read_bytes())
    (tmp_path / "both.ts").write_bytes(b"".join(parts))
    refuses(tmp_path / "both.ts", "changes from 64x48 yuv420p to 96x48 yuv420p")


def test_longer_sound_is_no_truncation(clip, tmp_path):
    def long_sound(container):
        stream = container.add_stream("aac", rate=48000)

        def feed():
            for index in range(200):
                frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                frame.sample_rate, frame.pts = 48000, 1024 * index
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

        return feed

    for container in ("mkv", "mp4", "avi"):
        assert len(list(read(clip(f"in.{container}", frames=10, codec="mpeg4", others=long_sound)))) == 10


def test_bad_targets(clip, tmp_path):
    source = clip("in.mp4", codec="libx264")
    (tmp_path / "link.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    (tmp_path / "folder.mp4").mkdir()
    before = source.read_bytes(), names(tmp_path)
    info = probe(source)
    for target, words in [
        (source, "is the input itself"),
        (tmp_path / "link.mp4", "is the input itself"),
        (tmp_path / "hard.mp4", "is the input itself"),
        (tmp_path / "folder.mp4", "is a directory"),
        (tmp_path / "none" / "out.mp4", "does not exist"),
        (tmp_path / "in.mp4" / "out.mp4", "not a folder"),
        (tmp_path / "out.xyz", "ending in one of"),
        (tmp_path / "out", "ending in one of"),
        (Path("/proc/out.mp4"), "not permitted|does not exist|failed"),
    ]:
        with pytest.raises(OutputError, match=words), Writer(info, target, WriteConfig()) as writer:
            writer.write(next(read(info)))
        with pytest.raises(OutputError, match=words):
            copy(source, target)
    assert (source.read_bytes(), names(tmp_path)) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_unwritable_folder(clip, tmp_path):
    (tmp_path / "shut").mkdir(mode=0o555)
    with pytest.raises(OutputError, match="not permitted"):
        copy(clip(codec="libx264"), tmp_path / "shut" / "out.mkv")


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_interrupted_in_the_middle(clip, tmp_path, error):
    source = clip("in.mp4", frames=10, codec="libx264")
    (tmp_path / "out.mp4").write_bytes(b"old")
    info = probe(source)

    def write_half():
        with Writer(info, tmp_path / "out.mp4", WriteConfig()) as writer:
            for frame in read(info):
                writer.write(frame)
                if frame.index == 5:
                    assert any(name.startswith(".out.partial-") for name in names(tmp_path))
                    raise error

    with pytest.raises(error):
        write_half()
    assert (tmp_path / "out.mp4").read_bytes() == b"old"
    assert names(tmp_path) == ["in.mp4", "out.mp4"]


def test_no_frame_written_is_an_error(clip, tmp_path):
    with pytest.raises(OutputError, match="no frame"), Writer(probe(clip()), tmp_path / "out.mkv", WriteConfig()):
        pass
    assert names(tmp_path) == ["in.mkv"]


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from clear_rt.config import WriteConfig
from clear_rt.errors import OutputError
from clear_rt.frames import Writer, copy, probe, read

def write(source, target):
    info = probe(source)
    with Writer(info, target, WriteConfig(lossless=True)) as writer:
        for frame in read(info):
            writer.write(frame)

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
source, target = map(Path, sys.argv[1:])
for work in (write, copy):
    for limit in (0, 40_000, 120_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            work(source, target)
        except OutputError as error:
            assert "largest size allowed" in str(error), error
        else:
            raise AssertionError(work, limit)
        assert target.read_bytes() == b"old"
        assert sorted(p.name for p in target.parent.iterdir()) == [source.name, target.name]
"""


@pytest.mark.parametrize("container", ["mp4", "mkv"])
def test_full_disk(clip, tmp_path, container):
    source = clip(f"in.{container}", "yuv420p", 128, 96, frames=12, codec="libx264", options={"qp": "0"})
    assert source.stat().st_size > 130_000
    target = tmp_path / f"out.{container}"
    target.write_bytes(b"old")
    command = [sys.executable, "-c", FULL_DISK, str(source), str(target)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_control_c_in_another_process(clip, tmp_path):
    source = clip("in.mp4", frames=4, codec="libx264")
    script = (
        "import sys\nfrom clear_rt.config import WriteConfig\nfrom clear_rt.frames import Writer, probe, read\n"
        "info = probe(sys.argv[1])\n"
        "with Writer(info, sys.argv[2], WriteConfig()) as w:\n"
        "    for f in read(info): w.write(f)\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(source), str(tmp_path / "out.mp4")]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    ) as process:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)
        assert process.returncode != 0
    assert names(tmp_path) == ["in.mp4"]


def test_memory_does_not_grow_with_the_clip(tools, tmp_path):
    pictures = [tools.make_picture("yuv420p", 480, 270, 0)] * 260
    source = tools.encode(tmp_path / "in.mp4", pictures, codec="libx264", options={"preset": "ultrafast"})
    info = probe(source)
    with Writer(info, tmp_path / "out.mp4", WriteConfig()) as writer:
        for frame in read(info):
            writer.write(frame)
            if frame.index == 150:
                before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Holding on to the 109 frames that follow would cost 21 MB.
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 12_000
