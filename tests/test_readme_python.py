"""The examples of README's section on Python, run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from tests.test_scan import LINE, RATE, draw, write


def test_every_example_runs(tmp_path, monkeypatch, capsys):
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    section = text.split("## Python", 1)[1].split("\n## ", 1)[0]
    examples = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert len(examples) >= 2
    monkeypatch.chdir(tmp_path)
    write(Path("in.mp4").with_suffix(".mkv"), lambda index: [LINE]).rename("in.mp4")
    pictures = [np.full((360, 640, 3), 90, np.uint8) for _ in range(6)]
    for picture in pictures[1:]:
        draw(picture, LINE)
    shown = []
    names = {"pictures": pictures, "show": lambda time_us, rgb: shown.append((time_us, rgb.shape))}
    for example in examples:
        exec(compile(example, "README.md", "exec"), names)
    assert len(shown) > 2 * RATE
    assert {shape for _, shape in shown} == {(360, 640, 3)}
    assert len(names["cleaned"]) == 6
    assert "frames," in capsys.readouterr().out
    assert Path("out.mp4").stat().st_size > 0
