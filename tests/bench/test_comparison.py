"""Two documents side by side, and files that are none."""

from __future__ import annotations

import json

import pytest

from clear_rt.bench.comparison import compare
from clear_rt.cli import main
from clear_rt.errors import ExitStatus, InputError


def _document(*, scale=1.0, gpu=None, profiles=("720p", "live33")):
    def profile(name):
        return {
            "profile": name,
            "size": [1280, 720],
            "steps": 5,
            "window": {"latents": 21},
            "stages": {"DiT step": {"p50_s": 2.0 * scale}, "VAE decode": {"p50_s": 0.5}},
            "network": {"fps": 10.0 / scale},
            "end_to_end": {"fps": 4.0},
            "memory": {"process_peak_bytes": 3_000_000, "gpu_peak_bytes": 8_000_000},
        }

    return {
        "benchmark": "clear-rt bench",
        "format": 1,
        "environment": {"gpus": [], "cpu": "a CPU", "cores": 2, "commit": "abc"},
        "ceilings": {"device": gpu or "cpu"},
        "bundle": {"manifest_sha256": "1"},
        "profiles": [profile(name) for name in profiles],
    }


@pytest.fixture
def written(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


def test_ratios_say_how_many_times_faster_the_second_is(written):
    slow, fast = written("a.json", _document()), written("b.json", _document(scale=0.5, gpu="H100", profiles=("720p",)))
    lines = compare(slow, fast).splitlines()
    found = {tuple(line.rsplit(None, 4)[0].split(None, 1)): line.split()[-4:] for line in lines if line[:4] == "720p"}
    assert found == {
        ("720p", "DiT step p50"): ["2000", "1000", "ms", "2.00"],
        ("720p", "VAE decode p50"): ["500", "500", "ms", "1.00"],
        ("720p", "network"): ["10", "20", "fps", "2.00"],
        ("720p", "end to end"): ["4", "4", "fps", "1.00"],
        ("720p", "peak memory"): ["3", "3", "MB", "1.00"],
        ("720p", "GPU peak memory"): ["8", "8", "MB", "1.00"],
    }
    assert "only in a: live33" in lines
    assert "different machines: a CPU, 2 cores and H100" in lines


def test_other_windows_are_said(written):
    other = _document()
    other["profiles"][0]["steps"] = 2
    assert "720p: different steps" in compare(written("a.json", _document()), written("b.json", other))


def test_nothing_in_common_is_said(written):
    one, other = written("a.json", _document(profiles=("720p",))), written("b.json", _document(profiles=("480p",)))
    with pytest.raises(InputError, match="no profile in common"):
        compare(one, other)


def _without(*path):
    document = _document()
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    return document


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "it is no JSON"),
        ("[1, 2]", "is no document of clear-rt bench"),
        ('{"benchmark": "kernels", "rows": []}', "is no document of clear-rt bench"),
        (_document() | {"format": 2}, "has format 2"),
        (_document() | {"profiles": []}, "damaged: it has no 'profiles'"),
        (_document() | {"environment": 5}, "damaged"),
        (_without("profiles", 1, "profile"), "damaged: a profile has no name"),
        (_without("profiles", 0, "stages", "DiT step", "p50_s"), "damaged: profile '720p' lacks times"),
        (_without("profiles", 0, "network", "fps"), "damaged: profile '720p' lacks 'network'"),
        (_without("profiles", 0, "memory"), "damaged: profile '720p' lacks"),
        ("[" * 100_000, "cannot be compared"),
    ],
)
def test_files_that_are_no_documents(written, capfd, content, said):
    good, bad = written("good.json", _document()), written("bad.json", content)
    for pair in ((good, bad), (bad, good)):
        assert main(["bench", "--compare", *map(str, pair)]) == ExitStatus.INPUT
        out, err = capfd.readouterr()
        assert out == ""
        assert len(err.strip().splitlines()) == 1
        assert said in err
        assert "bad.json" in err


def test_a_missing_file_and_a_folder(tmp_path, written, capfd):
    good = written("good.json", _document())
    for bad in (tmp_path / "missing.json", tmp_path):
        assert main(["bench", "--compare", str(good), str(bad)]) == ExitStatus.INPUT
        assert len(capfd.readouterr().err.strip().splitlines()) == 1


def test_the_command_prints_the_table(written, capfd):
    path = str(written("a.json", _document()))
    assert main(["bench", "--compare", path, path]) == 0
    out, err = capfd.readouterr()
    assert "DiT step p50" in out
    assert err == ""
