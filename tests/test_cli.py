"""The command line: bad input ends in one sentence and a status, good input in a file; nothing half-written stays."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from clear_rt.bundle import EMBEDDED
from clear_rt.cli import main
from clear_rt.errors import ExitStatus
from clear_rt.runtime.device import gpu_count
from clear_rt.version import __version__


def _refused(capfd, arguments, status, *words):
    """Run, and check the status and that standard error is one sentence with these words; returns it."""
    assert main([str(a) for a in arguments]) == status
    out, err = capfd.readouterr()
    assert out == ""
    lines = err.strip().splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("clear-rt: ")
    assert "Traceback" not in err
    for word in words:
        assert word in lines[0], lines[0]
    return lines[0]


@pytest.fixture
def folder(tmp_path):
    """A folder that must stay empty."""
    inside = tmp_path / "target"
    inside.mkdir()
    yield inside
    assert not list(inside.iterdir())


def _wave(path):
    import av
    import numpy as np

    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), "s16", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("kind", ["missing", "empty", "folder", "text", "truncated", "audio"])
def test_bad_input(capfd, tmp_path, folder, subtitled, kind):
    path = tmp_path / "in.mp4"
    if kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "text":
        path.write_text("this is no video\n" * 100)
    elif kind == "truncated":
        path.write_bytes(subtitled.read_bytes()[:300_000])
    elif kind == "audio":
        path = tmp_path / "in.wav"
        _wave(path)
    _refused(capfd, ["remove", path, "-o", folder / "out.mp4"], ExitStatus.INPUT, path.name)


def test_truncated_in_the_middle_of_the_pictures(capfd, tmp_path, folder, subtitled):
    whole = tmp_path / "whole.mkv"
    assert main(["remove", str(subtitled), "-o", str(whole)]) == 0
    capfd.readouterr()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    _refused(capfd, ["remove", cut, "-o", folder / "out.mkv"], ExitStatus.INPUT, "cut.mkv")


def test_output_is_the_input(capfd, tmp_path, subtitled):
    path = Path(shutil.copy(subtitled, tmp_path / "in.mp4"))
    link = tmp_path / "link.mp4"
    link.symlink_to(path)
    before = path.read_bytes()
    for output in (path, link):
        _refused(capfd, ["remove", path, "-o", output], ExitStatus.OUTPUT, "input itself")
    assert path.read_bytes() == before


@pytest.mark.parametrize("name", ["missing/out.mp4", "out.xyz", "out"])
def test_bad_output(capfd, folder, subtitled, name):
    _refused(capfd, ["remove", subtitled, "-o", folder / name], ExitStatus.OUTPUT)


def test_output_in_a_place_nobody_can_write(capfd, subtitled):
    _refused(capfd, ["remove", subtitled, "-o", "/proc/out.mp4"], ExitStatus.OUTPUT)


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        (["--region", "left"], ExitStatus.USAGE, "--region"),
        (["--region", "1,2,3"], ExitStatus.USAGE, "--region"),
        (["--region", "0,0,0,9"], ExitStatus.USAGE, "--region"),
        (["--region", "9000,0,10,10"], ExitStatus.USAGE, "720x404"),
        (["--crf", "99"], ExitStatus.USAGE, "--crf"),
        (["--composite", "glue"], ExitStatus.USAGE, "--composite"),
        (["--composite", "paste"], ExitStatus.USAGE, "--composite paste"),
        (["--steps", "5"], ExitStatus.USAGE, "--steps 5 belongs to the model's fill"),
        (["--policy", "paper"], ExitStatus.USAGE, "--policy paper belongs to the model's fill"),
        (["--noise", "noise.npy"], ExitStatus.USAGE, "--noise noise.npy belongs to the model's fill"),
        (["--seed", "0"], ExitStatus.USAGE, "--seed 0 belongs to the model's fill"),
        (["--fill", "model", "--steps", "0"], ExitStatus.USAGE, "--steps must be 1 or more"),
        (["--policy", "tiled"], ExitStatus.USAGE, "--policy"),
        (["--fill", "model", "--seed", "-1"], ExitStatus.USAGE, "--seed must be"),
        (["--engine", "trt"], ExitStatus.ENGINE, "--engine trt"),
        (["--engine", "cuda"], ExitStatus.ENGINE, "--engine cuda"),
        (
            ["--kernels", "triton"],
            ExitStatus.ENGINE,
            "onnx would run; leave it out: bundle clear-tiny holds onnx only",
        ),
        (["--kernels", "metal"], ExitStatus.USAGE, "--kernels"),
        (["--decoder", "vaapi"], ExitStatus.USAGE, "--decoder"),
        (["--encoder", "libx264"], ExitStatus.USAGE, "--encoder"),
        (["--bundle", "/nowhere"], ExitStatus.BUNDLE, "no bundle"),
        (["--preview", "page.jpg"], ExitStatus.OUTPUT, ".png"),
        (["--compare", "beside.avi"], ExitStatus.OUTPUT, ".mp4"),
        (["--colour", "red"], ExitStatus.USAGE, "--colour"),
    ],
)
def test_bad_options(capfd, folder, subtitled, options, status, word):
    _refused(capfd, ["remove", subtitled, "-o", folder / "out.mp4", *options], status, word)


@pytest.mark.skipif(gpu_count() > 0, reason="what is said where there is no NVIDIA GPU")
@pytest.mark.parametrize(
    "option", ["--decoder nvdec", "--encoder h264_nvenc", "--encoder hevc_nvenc", "--encoder av1_nvenc"]
)
def test_a_gpu_that_is_not_there(capfd, folder, subtitled, option):
    arguments = ["remove", subtitled, "-o", folder / "out.mp4", *option.split()]
    words = f"{option} cannot be honoured: no NVIDIA GPU was found; use {option.split()[0]} auto or cpu"
    _refused(capfd, arguments, ExitStatus.ENGINE, words)


@pytest.mark.skipif(gpu_count() > 0, reason="what is said where there is no NVIDIA GPU")
@pytest.mark.parametrize("asked", ["auto", "cpu"])
def test_the_report_says_who_decoded_and_encoded_and_why_not_the_gpu(capfd, tmp_path, subtitled, asked):
    arguments = ["remove", subtitled, "-o", tmp_path / "out.mp4", "--decoder", asked, "--encoder", asked, "--json"]
    assert main([str(argument) for argument in arguments]) == 0
    out, err = capfd.readouterr()
    report = json.loads(out)
    assert (report["decoder"], report["encoder"], report["notes"], err) == ("cpu", "libx264", [], "")
    tasks = ("decoding", "encoding") if asked == "auto" else ()
    assert report["gpu_notes"] == [f"GPU not used for {task} because no NVIDIA GPU was found" for task in tasks]


def test_the_model_fill_of_a_bundle_without_one(capfd, folder, subtitled, prior_bundle):
    arguments = ["remove", subtitled, "-o", folder / "out.mp4", "--fill", "model", "--bundle", prior_bundle]
    _refused(capfd, arguments, ExitStatus.ENGINE, "bundle prior-only holds the occlusion prior only")


def test_a_tampered_bundle(capfd, tmp_path, folder, subtitled):
    bundle = shutil.copytree(EMBEDDED, tmp_path / "bundle")
    with (bundle / "prior.onnx").open("r+b") as file:
        file.seek(5000)
        file.write(b"\0\1\2\3")
    arguments = ["remove", subtitled, "-o", folder / "out.mp4", "--bundle", bundle]
    _refused(capfd, arguments, ExitStatus.BUNDLE, "does not match its manifest")


def _child(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run `code` in an interpreter of its own. Shells start background jobs with SIGINT ignored: here it is not."""
    listening = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    command = [sys.executable, "-c", listening + code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_a_full_disk(tmp_path, folder, subtitled):
    """RLIMIT_FSIZE stands in for the disk: writes beyond it fail with EFBIG."""
    code = (
        "import resource, signal, sys; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000));"
        "from clear_rt.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    done = _child(code, "remove", subtitled, "-o", folder / "out.mp4")
    assert done.returncode == ExitStatus.OUTPUT, done.stderr
    assert done.stderr.startswith("clear-rt: ")
    assert len(done.stderr.strip().splitlines()) == 1


SIGNALS = pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "interrupted"), (signal.SIGTERM, "terminated")], ids=["sigint", "sigterm"]
)


def _assert_ended(done: subprocess.CompletedProcess[str], number: signal.Signals, word: str) -> None:
    assert done.returncode == 128 + number, done.stderr
    assert done.stderr.strip() == f"clear-rt: {word}; an output appears complete or not at all"


@SIGNALS
def test_a_signal_while_writing(tmp_path, subtitled, number, word):
    """A real signal, sent as soon as there is anything: at most the folder stays that the next run goes on from."""
    folder = tmp_path / "target"
    folder.mkdir()
    code = (
        "import os, sys, threading\n"
        "def watch():\n"
        "    while not os.listdir(sys.argv[1]): pass\n"
        "    os.kill(os.getpid(), int(sys.argv[2]))\n"
        "threading.Thread(target=watch, daemon=True).start()\n"
        "from clear_rt.cli import main\n"
        "sys.exit(main(sys.argv[3:]))\n"
    )
    done = _child(code, folder, int(number), "remove", subtitled, "-o", folder / "out.mp4")
    _assert_ended(done, number, word)
    assert done.stdout == ""
    assert {path.name for path in folder.iterdir()} <= {".out.mp4.clear_rt-work"}


@SIGNALS
@pytest.mark.parametrize("module", ["typer", "numpy.linalg", "av", "onnxruntime"])
def test_a_signal_while_importing(folder, subtitled, module, number, word):
    """Sent by the interpreter itself when it is about to import a module, one of those that take long."""
    code = (
        "import os, sys\n"
        "def watch(event, arguments):\n"
        "    if event == 'import' and arguments[0] == sys.argv[1] and not sent:\n"
        "        sent.append(True)\n"
        "        os.kill(os.getpid(), int(sys.argv[2]))\n"
        "from clear_rt.cli import main\n"
        "sent = []\n"
        "sys.addaudithook(watch)\n"
        "sys.exit(main(sys.argv[3:]))\n"
    )
    done = _child(code, module, int(number), "remove", subtitled, "-o", folder / "out.mp4")
    _assert_ended(done, number, word)


@SIGNALS
def test_a_second_signal_does_not_stop_the_cleaning_up(number, word):
    """GNU timeout signals the process, then its group."""
    code = (
        "import os, sys, clear_rt.cli as cli\n"
        "def run(arguments):\n"
        "    try:\n"
        "        os.kill(os.getpid(), int(sys.argv[1]))\n"
        "        print('not reached')\n"
        "    finally:\n"
        "        os.kill(os.getpid(), int(sys.argv[1]))\n"
        "        print('clean')\n"
        "cli._run = run\n"
        "sys.exit(cli.main(['remove']))\n"
    )
    done = _child(code, int(number))
    assert (done.returncode, done.stdout) == (128 + number, "clean\n"), done.stderr
    assert done.stderr.startswith(f"clear-rt: {word};")


def test_signal_handlers_are_put_back_and_others_left_alone(capfd, monkeypatch):
    seen = {}

    def run(arguments):
        seen.update({number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)})
        return 0

    monkeypatch.setattr("clear_rt.cli._run", run)
    before = [signal.signal(signal.SIGINT, signal.SIG_IGN), signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    try:
        assert main(["info"]) == 0
        assert seen[signal.SIGINT] == signal.SIG_IGN
        assert callable(seen[signal.SIGTERM])
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        thread = threading.Thread(target=main, args=(["info"],))
        thread.start()
        thread.join()
        assert seen[signal.SIGTERM] == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_importing_the_command_line_loads_no_library():
    code = "import sys, clear_rt.cli; print({'typer', 'rich', 'numpy', 'av', 'onnxruntime'} & set(sys.modules))"
    assert _child(code).stdout == "set()\n"


def _printing_into(stdout, unbuffered, *arguments):
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = [sys.executable, "-m", "clear_rt", *map(str, arguments)]
    environment |= {"PYTHONUNBUFFERED": "1"} if unbuffered else {}
    return subprocess.run(
        command, stdout=stdout, stderr=subprocess.PIPE, text=True, check=False, timeout=300, env=environment
    )


@pytest.fixture(params=["full", "closed pipe"])
def no_stdout(request):
    """Standard output that takes nothing."""
    if request.param == "full":
        with open("/dev/full", "w") as file:
            yield file
        return
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


@pytest.mark.parametrize("unbuffered", [False, True])
@pytest.mark.parametrize("arguments", [["info", "--json"], ["info"], ["--help"], ["--version"], ["remove", "--help"]])
def test_a_report_that_cannot_be_printed(no_stdout, arguments, unbuffered):
    done = _printing_into(no_stdout, unbuffered, *arguments)
    assert done.returncode == ExitStatus.OUTPUT, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "could not be printed" in done.stderr


def test_a_result_is_complete_though_its_report_cannot_be_printed(no_stdout, capfd, tmp_path, subtitled):
    target = tmp_path / "out.mp4"
    done = _printing_into(no_stdout, False, "remove", subtitled, "-o", target, "--json")
    assert done.returncode == ExitStatus.OUTPUT, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert f"{target} is complete, but the report on it could not be printed" in done.stderr
    assert main(["info", str(target), "--json"]) == 0


def test_the_status_tells_where_standard_error_cannot(tmp_path):
    command = [sys.executable, "-m", "clear_rt", "info", str(tmp_path / "absent.mp4")]
    with open("/dev/full", "w") as full:
        assert subprocess.run(command, stderr=full, check=False).returncode == ExitStatus.INPUT


def test_names_that_the_terminal_cannot_show_are_escaped(capfd, clean, tmp_path):
    target = tmp_path / os.fsdecode(b"\xff.mp4")
    assert main(["remove", str(clean), "-o", str(target), "--region", "0,0,16,16"]) == 0
    assert "\\udcff.mp4" in capfd.readouterr().out


def test_remove_reports_json_and_writes_what_was_asked(capfd, tmp_path, subtitled):
    names = [tmp_path / name for name in ("out.mp4", "page.png", "beside.mp4")]
    options = ["-o", names[0], "--preview", names[1], "--compare", names[2], "--json"]
    status = main(["remove", str(subtitled), *map(str, options)])
    out, err = capfd.readouterr()
    assert status == 0
    assert err == ""
    report = json.loads(out)
    assert report["frames"] == 100
    assert report["target"] == str(names[0])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["beside.mp4", "out.mp4", "page.png"]
    assert names[1].read_bytes().startswith(b"\x89PNG")
    assert main(["info", str(names[2]), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["video"]["picture"].startswith("1284x360")


def test_burn_remove_eval(capfd, tmp_path, clean):
    """The three commands that reproduce the figures, one after another."""
    source, mask, result = (str(tmp_path / name) for name in ("source.mp4", "mask.mkv", "result.mp4"))
    assert (
        main(["burn", str(clean), "-o", source, "--mask", mask, "--script", "ko", "--style", "outline", "--seed", "3"])
        == 0
    )
    assert main(["remove", source, "-o", result, "--lossless"]) == 0
    capfd.readouterr()
    arguments = ["eval", result, "--clean", str(clean), "--source", source, "--mask", mask, "--every-frames", "25"]
    assert main(arguments) == 0
    assert "source" in capfd.readouterr().out
    assert main([*arguments, "--json"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert found["result"]["psnr"]["inside_db"] > found["source"]["psnr"]["inside_db"] + 4
    assert found["mask"] == "given"


def test_version_info_and_help(capfd):
    assert main(["--version"]) == 0
    assert capfd.readouterr().out == f"clear-rt {__version__}\n"
    assert main(["info", "--json"]) == 0
    facts = json.loads(capfd.readouterr().out)
    assert facts["bundle"]["name"] == "clear-tiny"
    assert main([]) == ExitStatus.USAGE
    assert "Commands" in capfd.readouterr().out
    for command in ("remove", "burn", "eval", "info"):
        assert main([command, "--help"]) == 0
        assert "--help" in capfd.readouterr().out


def test_without_text_there_is_nothing_to_compare(capfd, tmp_path, clean):
    names = [tmp_path / name for name in ("out.mp4", "page.png", "beside.mp4")]
    options = ["-o", names[0], "--preview", names[1], "--compare", names[2]]
    assert main(["remove", str(clean), *map(str, options)]) == 0
    out, err = capfd.readouterr()
    assert "every stream copied" in out
    assert "no text was found" in err
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


@pytest.mark.parametrize("option", ["--preview", "--compare"])
def test_a_file_asked_for_twice_is_refused(capfd, tmp_path, folder, subtitled, option):
    suffix = ".png" if option == "--preview" else ".mp4"
    target = folder / f"out{suffix}"
    again = folder / ".." / folder.name / target.name
    _refused(capfd, ["remove", subtitled, "-o", target, option, again], ExitStatus.OUTPUT)


def test_a_line_end_in_a_name_stays_on_the_line(capfd, tmp_path):
    _refused(capfd, ["remove", tmp_path / "no\nsuch.mp4", "-o", tmp_path / "out.mp4"], ExitStatus.INPUT, "no such.mp4")
