"""Numbered and raw pictures through the command line, as a user types it."""

from __future__ import annotations

import json
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest
from PIL import Image

from clear_rt.cli import main
from clear_rt.errors import ExitStatus
from clear_rt.frames import read

FRAMES = 30


@pytest.fixture
def shown(subtitled):
    """RGB of the first frames of the subtitled sample, 180 rows."""
    return [frame.rgb(180, 320) for frame in islice(read(subtitled), FRAMES)]


@pytest.fixture
def folder(tmp_path, shown, monkeypatch):
    """They lie in pics/, the command runs beside it."""
    (tmp_path / "pics").mkdir()
    for number, rgb in enumerate(shown, start=1):
        Image.fromarray(rgb).save(tmp_path / "pics" / f"{number:04}.png", compress_level=1)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_pictures_in_and_pictures_out(folder, shown, capfd):
    """Into a folder that does not exist; a second time it is refused, and left out where that is asked for."""
    command = ["remove", "pics/%04d.png", "-o", "out", "--json"]
    assert main(command) == 0
    report = json.loads(capfd.readouterr().out)
    assert (report["frames"], report["encoder"]) == (FRAMES, "png")
    changed = 0
    for number, rgb in enumerate(shown, start=1):
        now = np.asarray(Image.open(folder / "out" / f"{number:04}.png"))
        assert now.shape == rgb.shape
        changed += not np.array_equal(now, rgb)
        np.testing.assert_array_equal(now[:80], rgb[:80])
    assert changed == report["frames_changed"] > 0
    assert main(command) == ExitStatus.OUTPUT
    assert "expected a folder that holds nothing but the pictures" in capfd.readouterr().err
    assert main([*command, "--skip-existing"]) == 0
    assert json.loads(capfd.readouterr().out)["outcome"] == "skipped"


def test_pictures_into_a_video_at_a_rate(folder, capfd):
    assert main(["remove", "pics/%04d.png", "-o", "out.mkv", "--rate", "24000/1001"]) == 0
    with av.open("out.mkv") as container:
        assert container.streams.video[0].average_rate.limit_denominator(1001) == Fraction(24000, 1001)


def test_raw_pictures_there_and_back(folder, shown, capfd):
    data = b"".join(rgb.tobytes() for rgb in shown)
    (folder / "in.rgb").write_bytes(data)
    assert main(["remove", "in.rgb", "-o", "out.rgb"]) == ExitStatus.USAGE
    assert "does not say how its pictures are stored; give --raw" in capfd.readouterr().err
    assert main(["remove", "in.rgb", "-o", "out.rgb", "--raw", "320x180:rgb24"]) == 0
    found = np.frombuffer((folder / "out.rgb").read_bytes(), np.uint8).reshape(FRAMES, 180, 320, 3)
    np.testing.assert_array_equal(found[:, :80], np.stack(shown)[:, :80])
    assert not np.array_equal(found, np.stack(shown))


def test_detect_and_dry_run_take_them_too(folder, capfd):
    assert main(["detect", "pics/%04d.png", "--rate", "10"]) == 0
    found = json.loads(capfd.readouterr().out)
    assert main(["remove", "pics/%04d.png", "-o", "out", "--dry-run", "--json"]) == 0
    (forecast,) = json.loads(capfd.readouterr().out)
    assert (forecast["frames"], forecast["runs"]) == (FRAMES, 1)
    assert found
    assert not (folder / "out").exists()
