"""What every training stage has in common: its options, a checkpoint that it goes on from, and a log."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from clear_rt.errors import ConfigError
from clear_rt.threads import ahead
from training.processes import ALONE, Processes

LOG_EVERY = 50
Batch = TypeVar("Batch")

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
    average_decay: float = 0.998
    checkpoint_every: int
    device: str = "cpu"


def learning_rate(step: int, config: StageConfig, warm_up_steps: int, least: float = 0.01) -> float:
    """Linear warm-up, then a cosine to `least` of the peak."""
    if step < warm_up_steps:
        return config.peak_lr * (step + 1) / warm_up_steps
    progress = (step - warm_up_steps) / max(config.steps - warm_up_steps, 1)
    return config.peak_lr * (least + (1 - least) * 0.5 * (1 + math.cos(math.pi * progress)))


def computes_bfloat16(kind: str) -> bool:
    """Whether a kind of device does: a CPU without avx512_bf16 emulates it, 400 times slower than fp32."""
    return kind != "cpu" or bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def running_average(model: nn.Module, decay: float) -> torch.optim.swa_utils.AveragedModel:
    """An average of the weights that forgets its first steps: over a tenth of them all until `decay` is reached."""

    def average(before: Tensor, now: Tensor, count: Tensor | int) -> Tensor:
        return before + (now - before) * max(1 - decay, 10 / (10 + int(count)))

    return torch.optim.swa_utils.AveragedModel(model, avg_fn=average)


class Resumable:
    """Model, its running average, optimiser and step, and the file in `run` that they are resumed from.

    A trainer makes the first three and then calls `resume`. Of several processes the first alone writes.
    """

    model: nn.Module
    average: Any
    optimiser: torch.optim.Optimizer

    def __init__(self, run: Path, config: StageConfig, processes: Processes = ALONE) -> None:
        self.config, self.run, self.step, self.processes = config, run, 0, processes
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
        """The config that a checkpoint was made with; options that are newer than it were at their defaults."""
        defaults = {f.name: f.default for f in fields(self.config) if f.default is not MISSING}
        return defaults | state["config"]

    def save(self) -> None:
        """Write or replace the checkpoint, whole or not at all."""
        partial = self.path.with_suffix(".partial")
        rest = {"step": self.step, "config": asdict(self.config)}
        torch.save({name: part.state_dict() for name, part in self._parts().items()} | rest, partial)
        partial.rename(self.path)

    def record(self, row: dict[str, Any]) -> None:
        if not self.processes.first:
            return
        print(json.dumps(row), flush=True)
        with self.log.open("a") as file:
            file.write(json.dumps(row) + "\n")

    def autocast(self) -> torch.autocast:
        kind = torch.device(self.config.device).type
        return torch.autocast(kind, torch.bfloat16, enabled=computes_bfloat16(kind))

    def learn(self, loss: Tensor, terms: Mapping[str, Tensor]) -> dict[str, float]:
        """One optimiser step down `loss`; the terms as numbers, and the length of the gradient."""
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = self.take_step()
        return {name: value.item() for name, value in terms.items()} | {"gradient": norm}

    def take_step(self) -> float:
        """The optimiser's step with the gradients there are, cut to a length of 1; what it was before."""
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.constrain()
        self.average.update_parameters(self.model)
        self.step += 1
        return float(norm)

    def constrain(self) -> None:
        """Puts weights back where they may be, after every step and before it is averaged."""

    def train(
        self,
        batches: Iterator[Batch],
        advance: Callable[[Batch], dict[str, float]],
        last_step: int,
        checkpoint: Callable[[], dict[str, float]],
        stopped: threading.Event | None = None,
    ) -> None:
        """Advance up to `last_step` or until `stopped`; save, and record what `checkpoint` returns, now and then."""
        begun, sums, logged = time.monotonic(), dict[str, float](), self.step
        with closing(ahead(batches, depth=3)) as coming:
            for batch in coming:
                for name, value in advance(batch).items():
                    sums[name] = sums.get(name, 0.0) + value
                stop = self.processes.any(stopped is not None and stopped.is_set())
                if self.step % LOG_EVERY == 0:
                    means = {name: round(value / (self.step - logged), 4) for name, value in sums.items()}
                    self.record({"step": self.step, "seconds": round(time.monotonic() - begun, 1)} | means)
                    sums, logged = {}, self.step
                if self.step % self.config.checkpoint_every == 0 or self.step == last_step or stop:
                    self._keep(checkpoint)
                if stop:
                    return

    def _keep(self, checkpoint: Callable[[], dict[str, float]]) -> None:
        if self.processes.first:
            self.save()
            self.record({"step": self.step} | checkpoint())
        self.processes.wait()

    def _parts(self) -> dict[str, Any]:
        return {"model": self.model, "average": self.average, "optimiser": self.optimiser}

    def _check_same(self, before: Mapping[str, Any]) -> None:
        asked = {name: value for name, value in asdict(self.config).items() if name not in _FREE}
        before = {n: asdict(v) if is_dataclass(v) and not isinstance(v, type) else v for n, v in before.items()}
        differing = [name for name, value in asked.items() if before.get(name) != value]
        if differing:
            found, now = (", ".join(f"{n} {values.get(n)}" for n in differing) for values in (before, asked))
            raise ConfigError(
                f"{self.path} was trained with {found}, now asked for {now}; give the same, or another --run"
            )
