"""The flow that the transformer learns, how far one pass of it comes, and the trainer that base and Stage II share."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.models.dit import Dit, DitOutput
from clear_rt.schedule import SHIFT, TIMESTEPS
from training.latent_data import PIECE_TOKENS, LatentPairs, Windows
from training.muon import Muon
from training.resumable import Resumable, StageConfig, learning_rate, running_average

WARM_UP_STEPS = 50
# The prompt is constant, and so is what it says: vectors that no text encoder made (reference.md 4).
PROMPT_TOKENS = 4
PIECE_LATENTS = 2 * PIECE_TOKENS
# A draft's error at which its piece counts half; of all pieces the median is 0.058 and the 95th percentile 0.79. With
# 0.02 texture is hardly learned, without weights smooth pictures get worse: docs/LOG.md, 2026-11-25.
SOFTENED_BY = 0.2


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
def one_pass(dit: Dit, prompt: Tensor, windows: Windows, seed: int = 0) -> dict[str, float]:
    """Mean squared error of clean latents made of pure noise in one step, under the prior's map and elsewhere.

    Beside the first that of the draft: what a model that copies has.
    """
    noise = torch.randn(windows.clean.shape, generator=torch.Generator().manual_seed(seed)).to(windows.clean)
    timesteps = windows.clean.new_full((len(windows.clean),), TIMESTEPS)
    velocity = dit(noise, windows.control, timesteps, text_of(prompt, dit, len(noise))).velocity
    made, text = noise - velocity.float(), _on_latents(windows.maps)
    error, before = ((x - windows.clean).square().mean(1) for x in (made, windows.control))
    figures = {"text": error[text].mean(), "text_draft": before[text].mean(), "rest": error[~text].mean()}
    return {name: round(float(value), 4) for name, value in figures.items()}


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
    # Learning rate of biases and norms, over that of matrices.
    vector_share = 0.1

    def __init__(self, run: Path, config: StageConfig, model: Dit) -> None:
        """Raises ConfigError as `Resumable.resume`."""
        super().__init__(run, config)
        run.mkdir(parents=True, exist_ok=True)
        self.model = model.to(config.device)
        self.prompt = prompt_embedding(model.config.text_width).to(config.device)
        self.average = running_average(self.model, config.average_decay)
        self.optimiser = Muon(self.model.parameters(), config.peak_lr, vector_share=self.vector_share)
        self.resume()

    @abstractmethod
    def terms(self, found: DitOutput, given: Noised, windows: Windows) -> dict[str, Tensor]:
        """What is learned from one batch, in fp32; `total` is what the optimiser goes down."""

    @abstractmethod
    def learned(self) -> tuple[str, dict[str, Tensor]]:
        """The file and the tensors of the running average that this training leaves."""

    def advance(self, windows: Windows) -> dict[str, float]:
        """One optimiser step; noise and noise levels are drawn by (seed, step)."""
        windows = self._there(windows)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config, WARM_UP_STEPS)
        given = noised(windows.clean, torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step))
        with self.autocast():
            text = text_of(self.prompt, self.model, len(windows.clean))
            velocity, occlusion = self.model(given.latents, windows.control, given.timesteps, text)
        found = DitOutput(velocity.float(), None if occlusion is None else occlusion.float())
        terms = self.terms(found, given, windows)
        return self.learn(terms["total"], terms)

    def train_to(self, pairs: LatentPairs, last_step: int, stopped: threading.Event | None = None) -> None:
        """Train up to `last_step` or until `stopped`; measure, save and write at every checkpoint and at the end."""
        windows = self._there(pairs.validation())

        def checkpoint() -> dict[str, float]:
            name, tensors = self.learned()
            save_file({n: t.detach().float().cpu().contiguous() for n, t in tensors.items()}, self.run / name)
            return one_pass(self.average.module, self.prompt, windows)

        self.train(
            batches(pairs, self.config, range(self.step, last_step)), self.advance, last_step, checkpoint, stopped
        )

    def _there(self, windows: Windows) -> Windows:
        return Windows(*(part.to(self.config.device) for part in windows))


def batches(pairs: LatentPairs, config: StageConfig, steps: range) -> Iterator[Windows]:
    """The batch of every step, drawn by (seed, step): a resumed run sees what an unbroken one would have seen."""
    for step in steps:
        yield pairs.batch(np.random.default_rng([config.seed, step]), config.batch)
