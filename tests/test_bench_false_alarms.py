"""False alarms counted: shots cut out to the frame, a clip without text and one with it told apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("torch", reason="which shots are set aside stands in training")
pytest.importorskip("PIL", reason="clips are drawn with Pillow")

from benchmarks import bench_false_alarms
from benchmarks.bench_false_alarms import main, shots
from clear_rt.frames import probe, read


def test_shots_are_the_frames_asked_for(clean, tmp_path, monkeypatch):
    """Also where one of them was made before."""
    monkeypatch.setattr(bench_false_alarms, "HOME", tmp_path)
    spans = [(3, 5), (6, 6), (9, 12)]
    for _ in range(2):
        found = list(shots(clean, spans))
        assert [probe(path).frames_estimate for path in found] == [3, 1, 4]
        (tmp_path / f"{clean.stem}-6-6.mp4").unlink()
    source = [frame.rgb(90, 160) for frame in read(clean)]
    first = next(iter(read(found[2]))).rgb(90, 160)
    errors = [np.abs(first.astype(int) - rgb).mean() for rgb in source[:20]]
    assert int(np.argmin(errors)) == 9


def test_clips_with_and_without_text(clean, subtitled, capsys):
    assert main([str(clean), str(subtitled)]) == 0
    *_, printed = capsys.readouterr().out.splitlines()
    rows = json.loads(printed)["rows"]
    assert [row["value"] > 0 for row in rows] == [False, True, True]
    assert rows[2]["value"] == 1
