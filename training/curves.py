"""Loss and quality over the steps of a training, out of its logs: python -m training.curves --run runs/tiny OUT.png"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Panel:
    """One diagram: the named values of one part's log, and what their axis says."""

    part: str
    names: tuple[str, ...]
    title: str
    axis: str


PANELS = (
    Panel("vae", ("total", "l1", "edges"), "VAE: loss", "of values in -1..1"),
    Panel("vae", ("psnr_db", "text_psnr_db"), "VAE: validation clips with captions", "PSNR, dB"),
    Panel("base", ("total",), "base: loss of the flow", "squared error"),
    Panel("base", ("text", "text_draft", "rest"), "base: one pass from noise, validation", "squared error of latents"),
    Panel("stage-two", ("generation", "distillation", "sparsity"), "Stage II: losses", ""),
    Panel(
        "stage-two",
        ("text", "text_draft", "rest"),
        "Stage II: one pass from noise, validation",
        "squared error of latents",
    ),
)


def curve(log: Path, name: str) -> tuple[list[int], list[float]]:
    """Steps and values of every row that has the value; of a step that was logged twice the later one."""
    rows = [json.loads(line) for line in log.read_text().splitlines()]
    found = {row["step"]: row[name] for row in rows if name in row and "step" in row}
    return sorted(found), [found[step] for step in sorted(found)]


def drawn(run: Path) -> Figure:
    figure = Figure(figsize=(12, 11), layout="constrained")
    for panel, axes in zip(PANELS, figure.subplots(3, 2).flat, strict=True):
        for name in panel.names:
            axes.plot(*curve(run / panel.part / "log.jsonl", name), marker=".", label=name)
        axes.set_title(panel.title)
        axes.set_xlabel("step")
        axes.set_ylabel(panel.axis)
        axes.grid(alpha=0.3)
        axes.legend()
    return figure


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", type=Path)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    options = parser.parse_args()
    drawn(options.run).savefig(options.target, dpi=80)


if __name__ == "__main__":
    main()
