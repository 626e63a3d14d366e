"""What every training stage has in common: its options, a checkpoint that it goes on from, and a log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from clear_rt.errors import ConfigError

# What may differ between the runs that share a checkpoint: none of these changes what is learned.
_FREE = ("stages", "checkpoint_every", "device")


@dataclass(frozen=True, slots=True, kw_only=True)
class StageConfig:
    """Options of any stage; each sets the sizes that suit two cores."""

    seed: int = 0
    steps: int
    stages: int
    batch: int
    peak_lr: float
    weight_decay: float
    average_decay: float = 0.998
    checkpoint_every: int
    device: str = "cpu"


def learning_rate(step: int, config: StageConfig, warm_up_steps: int) -> float:
    """Linear warm-up, then a cosine to 1 %."""
    if step < warm_up_steps:
        return config.peak_lr * (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(config.steps - warm_up_steps, 1)
    return config.peak_lr * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * progress)))


class Resumable:
    """Model, its running average, optimiser and step, and the file in `run` that they are resumed from.

    A trainer makes the first three and then calls `resume`.
    """

    model: nn.Module
    average: torch.optim.swa_utils.AveragedModel
    optimiser: torch.optim.Optimizer

    def __init__(self, run: Path, config: StageConfig) -> None:
        self.config, self.run, self.step = config, run, 0
        self.path, self.log = run / "checkpoint.pt", run / "log.jsonl"

    def resume(self) -> None:
        """Go on from the checkpoint if there is one. Raises ConfigError where it was made with another config."""
        if not self.path.exists():
            return
        state = torch.load(self.path, map_location=self.config.device, weights_only=True)
        self._check_same(self.trained_with(state))
        if state["step"] > self.config.steps:
            raise ConfigError(
                f"{self.path} is at step {state['step']}, expected {self.config.steps} at most; "
                "give --steps as before, or another --run"
            )
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.step = state["step"]

    def trained_with(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """The config that a checkpoint was made with."""
        return state["config"]

    def save(self) -> None:
        """Write or replace the checkpoint, whole or not at all."""
        partial = self.path.with_suffix(".partial")
        rest = {"step": self.step, "config": asdict(self.config)}
        torch.save({name: part.state_dict() for name, part in self._parts().items()} | rest, partial)
        partial.rename(self.path)

    def record(self, row: dict[str, Any]) -> None:
        print(json.dumps(row), flush=True)
        with self.log.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def autocast(self) -> torch.autocast:
        return torch.autocast(torch.device(self.config.device).type, torch.bfloat16)

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "average": self.average, "optimiser": self.optimiser}

    def _check_same(self, before: Mapping[str, Any]) -> None:
        asked = {name: value for name, value in asdict(self.config).items() if name not in _FREE}
        differing = [name for name, value in asked.items() if before.get(name) != value]
        if differing:
            found, now = (", ".join(f"{n} {values.get(n)}" for n in differing) for values in (before, asked))
            raise ConfigError(
                f"{self.path} was trained with {found}, now asked for {now}; give the same, or another --run"
            )
