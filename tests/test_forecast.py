"""A dry run: it finds what a removal would, and writes nothing."""

from __future__ import annotations

import json

import clear_rt
from clear_rt.cli import main
from tests.test_scan import COUNT, LINE, LOGO, RATE, write


def test_it_finds_what_a_removal_changes_and_writes_nothing(tmp_path, capsys):
    video = write(tmp_path / "in.mkv", lambda index: ([LINE] if 10 <= index < 40 else []) + [LOGO] * (index >= 30))
    before = sorted(tmp_path.iterdir())
    assert main(["remove", str(video), "--dry-run", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert sorted(tmp_path.iterdir()) == before
    report = clear_rt.remove(video, tmp_path / "out.mkv")
    within = {frame for run in report.runs for frame in range(run.start_frame, run.stop_frame)}
    assert found["frames_with_text"] == len(within)
    assert found["text_s"] == len(within) / RATE
    assert (found["frames"], found["duration_s"], found["runs"]) == (COUNT, COUNT / RATE, len(report.runs))
    boxes = {(run.box.x_px, run.box.y_px, run.box.width_px, run.box.height_px) for run in report.runs}
    assert {tuple(box) for box in found["boxes"]} == boxes
    assert found["estimated_seconds"] > 0
    assert found["estimated_bytes"] == video.stat().st_size


def test_many_are_a_table_and_nothing_is_needed_for_results(tmp_path, capsys):
    for name in ("a.mkv", "b.mkv"):
        write(tmp_path / name, lambda index: [])
    assert main(["remove", str(tmp_path), "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "nothing was written" in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.mkv", "b.mkv"]
