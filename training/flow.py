"""The flow that the transformer learns, how far one pass of it comes, and the trainer that base and Stage II share."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.errors import ConfigError
from clear_rt.models.dit import Dit, DitOutput
from clear_rt.schedule import SHIFT, TIMESTEPS
from training.latent_data import PIECE_TOKENS, Windows
from training.learned import Learned, LearnedAverage, learning
from training.muon import Muon
from training.processes import ALONE, Processes
from training.resumable import Resumable, StageConfig, learning_rate

# The prompt is constant, and so is what it says: vectors that no text encoder made (reference.md 4).
PROMPT_TOKENS = 4
PIECE_LATENTS = 2 * PIECE_TOKENS
# A draft's error at which its piece counts half; of all pieces the median is 0.058 and the 95th percentile 0.79. With
# 0.02 texture is hardly learned, without weights smooth pictures get worse: docs/LOG.md, 2026-11-25.
SOFTENED_BY = 0.2


class WindowData(Protocol):
    """Where windows come from: `LatentPairs` and `WholeWindows`."""

    def batch(self, rng: np.random.Generator, pieces: int) -> Windows:
        """About so many of what the data are counted in, drawn anew."""

    def validation(self) -> Windows:
        """Always the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowTraining(StageConfig):
    """Options of base and Stage II. A step takes `accumulate` batches, shared out among all processes."""

    accumulate: int = 1
    warm_up_steps: int = 50
    least_lr_share: float = 0.01


class Noised(NamedTuple):
    """latents = (1 - sigma) clean + sigma noise, timesteps [B] = 1000 sigma, target = noise - clean."""

    latents: Tensor
    timesteps: Tensor
    target: Tensor


def noised(clean: Tensor, generator: torch.Generator) -> Noised:
    """Clean latents [B, C, L, h, w] at noise levels drawn evenly from the sampler's table (shift 5)."""
    noise = torch.randn(clean.shape, generator=generator).to(clean)
    ramp = 1 - torch.rand(len(clean), generator=generator).to(clean)
    sigma = SHIFT * ramp / (1 + (SHIFT - 1) * ramp)
    at = sigma[:, None, None, None, None]
    return Noised((1 - at) * clean + at * noise, TIMESTEPS * sigma, noise - clean)


def relative_weight(windows: Windows) -> Tensor:
    """[B, 1, 1, 1, w]: what counts is how much smaller an error is than the draft's of the same piece.

    Quality is judged in decibels, and drafts differ. Unweighted, the network follows those of the largest errors.
    """
    drafts = (windows.control - windows.clean).square().mean((1, 2, 3)).unflatten(-1, (-1, PIECE_LATENTS)).mean(-1)
    weight = SOFTENED_BY / (drafts + SOFTENED_BY)
    return weight.repeat_interleave(PIECE_LATENTS, -1)[:, None, None, None]


@torch.inference_mode()
def one_pass(dit: Dit, prompt: Tensor, windows: Windows, seed: int = 0, batch: int = 12) -> dict[str, float]:
    """Mean squared error of clean latents made of pure noise in one step, under the prior's map and elsewhere.

    Beside the first that of the draft: what a model that copies has. Windows go through the model `batch` at a time.
    """
    noise = torch.randn(windows.clean.shape, generator=torch.Generator().manual_seed(seed))
    made = []
    for start in range(0, len(noise), batch):
        given, control = (x[start : start + batch].to(prompt.device) for x in (noise, windows.control))
        timesteps = given.new_full((len(given),), TIMESTEPS)
        with computing(dit):
            velocity = dit(given, control, timesteps, text_of(prompt, dit, len(given))).velocity
        made.append((given - velocity.float()).to(windows.clean.device))
    text = _on_latents(windows.maps)
    error, before = ((x - windows.clean).square().mean(1) for x in (torch.cat(made), windows.control))
    figures = {"text": error[text].mean(), "text_draft": before[text].mean(), "rest": error[~text].mean()}
    return {name: round(float(value), 4) for name, value in figures.items()}


def computing(dit: Dit) -> torch.autocast:
    """Within, a transformer whose base is in bf16 computes with its fp32 adapter; one in fp32 computes as it is."""
    weight = dit.patch_embedding.weight
    return torch.autocast(weight.device.type, torch.bfloat16, enabled=weight.dtype == torch.bfloat16)


def prompt_embedding(width: int) -> Tensor:
    """[4, width], drawn once for all."""
    return torch.randn(PROMPT_TOKENS, width, generator=torch.Generator().manual_seed(0))


def text_of(prompt: Tensor, dit: Dit, batch: int) -> Tensor:
    """A prompt [P, width] padded with zeros as the transformer takes it, [batch, tokens, width]."""
    padded = torch.nn.functional.pad(prompt, (0, 0, 0, dit.config.text_tokens - len(prompt)))
    return padded.expand(batch, -1, -1)


def _on_latents(maps: Tensor) -> Tensor:
    """Maps of tokens [B, L, rows, columns] -> whether text is likely, [B, L, 2 rows, 2 columns]."""
    return maps.repeat_interleave(2, -1).repeat_interleave(2, -2) > 0.5


class FlowTrainer(Resumable):
    """A transformer that learns the flow; what of it, and by which terms, its subclasses say."""

    model: Dit
    config: FlowTraining
    average: LearnedAverage
    # Learning rate of biases and norms, over that of matrices.
    vector_share = 0.1

    def __init__(
        self,
        run: Path,
        config: FlowTraining,
        model: Dit,
        prompt: Tensor | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """`prompt` [P, text width], the one drawn for clear-tiny where none is given.

        Raises ConfigError as `Resumable.resume`, and where batches of a step cannot be shared out among the processes.
        """
        super().__init__(run, config, processes)
        if config.accumulate < 1 or config.accumulate % processes.count:
            raise ConfigError(
                f"expected a multiple of {processes.count} processes as batches of a step, got {config.accumulate}; "
                "give --accumulate accordingly"
            )
        run.mkdir(parents=True, exist_ok=True)
        self.model = model.to(config.device)
        given = prompt_embedding(model.config.text_width) if prompt is None else prompt
        self.prompt = given.float().to(config.device)
        self.average = LearnedAverage(self.model, config.average_decay)
        self.optimiser = self.new_optimiser()
        self.resume()

    def new_optimiser(self) -> torch.optim.Optimizer:
        return Muon(self.model.parameters(), self.config.peak_lr, vector_share=self.vector_share)

    @abstractmethod
    def terms(self, found: DitOutput, given: Noised, windows: Windows) -> dict[str, Tensor]:
        """What is learned from one batch, in fp32; `total` is what the optimiser goes down."""

    @abstractmethod
    def learned(self) -> tuple[str, dict[str, Tensor]]:
        """The file and the tensors of the running average that this training leaves."""

    def advance(self, *share: Windows) -> dict[str, float]:
        """One optimiser step on this process's share of the step's batches; the means of the terms over the share.

        Noise and noise levels are drawn by (seed, number of the batch). Raises ValueError for a share of another size.
        """
        numbers = batch_numbers(self.step, self.config, self.processes)
        self.optimiser.zero_grad(set_to_none=True)
        sums = dict[str, float]()
        for number, windows in zip(numbers, share, strict=True):
            terms = self._terms(self._there(windows), number)
            (terms["total"] / self.config.accumulate).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(share)
        self.processes.add_up([p.grad for p in learning(self.model).values() if p.grad is not None])
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config, self.config.warm_up_steps, self.config.least_lr_share)
        return sums | {"gradient": self.take_step()}

    def train_to(self, pairs: WindowData, last_step: int, stopped: threading.Event | None = None) -> None:
        """Train up to `last_step` or until `stopped`; measure, save and write at every checkpoint and at the end."""
        windows = pairs.validation()
        steps = batches(pairs, self.config, range(self.step, last_step), self.processes)
        self.train(steps, lambda share: self.advance(*share), last_step, lambda: self.checkpoint(windows), stopped)

    def checkpoint(self, windows: Windows) -> dict[str, float]:
        """Writes what was learned and measures it on `windows`."""
        name, tensors = self.learned()
        save_file({n: t.detach().float().cpu().contiguous() for n, t in tensors.items()}, self.run / name)
        with self.average.in_place():
            return one_pass(self.model, self.prompt, windows, batch=self.config.batch)

    def _terms(self, windows: Windows, number: int) -> dict[str, Tensor]:
        given = noised(windows.clean, torch.Generator().manual_seed(self.config.seed * 1_000_003 + number))
        with self.autocast():
            text = text_of(self.prompt, self.model, len(windows.clean))
            velocity, occlusion = self.model(given.latents, windows.control, given.timesteps, text)
        found = DitOutput(velocity.float(), None if occlusion is None else occlusion.float())
        return self.terms(found, given, windows)

    def _there(self, windows: Windows) -> Windows:
        return Windows(*(part.to(self.config.device) for part in windows))

    def _parts(self) -> dict[str, Any]:
        return super()._parts() | {"model": Learned(self.model)}


def batch_numbers(step: int, config: FlowTraining, processes: Processes = ALONE) -> range:
    """Which batches of the whole training this process takes at a step, counted from 0."""
    first = step * config.accumulate
    return range(first + processes.index, first + config.accumulate, processes.count)


def batches(
    pairs: WindowData, config: FlowTraining, steps: range, processes: Processes = ALONE
) -> Iterator[list[Windows]]:
    """This process's batches of every step, drawn by (seed, number): a resumed run sees what an unbroken one would."""
    for step in steps:
        numbers = batch_numbers(step, config, processes)
        yield [pairs.batch(np.random.default_rng([config.seed, number]), config.batch) for number in numbers]
