"""What cannot be measured ends in one sentence and a status, before anything is measured, and writes nothing."""

from __future__ import annotations

import os

import pytest

from clear_rt.cli import main
from clear_rt.errors import ExitStatus


@pytest.fixture
def refused(capfd, tmp_path, monkeypatch):
    """Runs `bench` and returns what it said; nothing may have been opened or written."""
    monkeypatch.setattr("clear_rt.runtime.onnx.OnnxEngine.encode", _never)
    folder = tmp_path / "target"
    folder.mkdir()

    def run(status, *arguments):
        assert main(["bench", *map(str, arguments)]) == status
        out, err = capfd.readouterr()
        assert out == ""
        lines = err.strip().splitlines()
        assert len(lines) == 1, err
        assert lines[0].startswith("clear-rt: ")
        assert not list(folder.iterdir())
        return lines[0]

    run.folder = folder
    return run


def _never(*arguments):
    raise AssertionError("measured something")


def test_options(refused):
    assert "one of 480p, 720p" in refused(ExitStatus.USAGE, "--profile", "8k")
    assert "multiples of 16 px" in refused(ExitStatus.USAGE, "--profile", "100x100")
    assert "different profiles" in refused(ExitStatus.USAGE, "--profile", "720p", "--profile", "720p")
    assert "--runs" in refused(ExitStatus.USAGE, "--runs", "0")
    assert "7" in refused(ExitStatus.USAGE, "--steps", "7")
    assert "--policy" in refused(ExitStatus.USAGE, "--policy", "none")


def test_a_bundle_without_generator(refused, prior_bundle):
    said = refused(ExitStatus.ENGINE, "--bundle", prior_bundle)
    assert "prior-only holds the occlusion prior only, and bench measures a generator" in said


def test_no_bundle(refused, tmp_path):
    assert "is no bundle" in refused(ExitStatus.BUNDLE, "--bundle", tmp_path / "nothing")


def test_an_engine_that_the_bundle_is_not_for(refused):
    assert "not weights for the cuda engine" in refused(ExitStatus.ENGINE, "--engine", "cuda")
    assert "not a TensorRT engine" in refused(ExitStatus.ENGINE, "--engine", "trt")


@pytest.mark.parametrize("option", ["--json", "--markdown", "--chart"])
def test_places_that_cannot_be_written(refused, tmp_path, option):
    folder = refused.folder
    name = "a.png" if option == "--chart" else "a.txt"
    assert "does not exist" in refused(ExitStatus.OUTPUT, option, folder / "missing" / name)
    (tmp_path / f"folder-{name}").mkdir()
    assert "is a directory" in refused(ExitStatus.OUTPUT, option, tmp_path / f"folder-{name}")
    # Root may write anywhere.
    if os.geteuid():
        folder.chmod(0o500)
        assert "not permitted" in refused(ExitStatus.OUTPUT, option, folder / name)


def test_names_of_outputs(refused):
    folder = refused.folder
    assert "--chart must end in .png" in refused(ExitStatus.OUTPUT, "--chart", folder / "a.svg")
    said = refused(ExitStatus.OUTPUT, "--json", folder / "a", "--markdown", folder / ".." / "target" / "a")
    assert "asked for twice" in said
