"""The base of clear-tiny: a small Wan transformer that makes the clean video out of its draft (`clear_rt.draft`).

Fun-Control's channel layout: noise, control (the draft), and a slot for a start image that is always zero. Learns from
the shards of `training.latent_pairs` and leaves `dit.safetensors` (the running average, in Wan's names) in the run's
folder. `training.tiny` runs it in stages of 20 minutes or less on two cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from clear_rt.models.dit import Dit, DitOutput
from clear_rt.models.dit_config import DitConfig
from training.dit_start import copying_start
from training.flow import FlowTrainer, FlowTraining, Noised, relative_weight
from training.latent_data import Windows
from training.processes import ALONE, Processes


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseTraining(FlowTraining):
    """Sizes that suit two cores. `batch` counts pieces of 96 x 96 pixels and 17 frames."""

    width: int = 192
    heads: int = 3
    layers: int = 6
    steps: int = 3600
    stages: int = 3
    batch: int = 12
    peak_lr: float = 6e-3
    checkpoint_every: int = 200

    @property
    def dit(self) -> DitConfig:
        return DitConfig(
            width=self.width,
            heads=self.heads,
            layers=self.layers,
            ffn_width=4 * self.width,
            freq_width=64,
            text_width=64,
            text_tokens=8,
            image_width=0,
            ref_conv=False,
        )


class BaseTrainer(FlowTrainer):
    """All of the transformer, by the flow's error relative to the draft's. Raises ConfigError as `FlowTrainer`."""

    def __init__(self, run: Path, config: BaseTraining, processes: Processes = ALONE) -> None:
        torch.manual_seed(config.seed)
        model = Dit(config.dit)
        copying_start(model)
        super().__init__(run, config, model, processes=processes)

    def terms(self, found: DitOutput, given: Noised, windows: Windows) -> dict[str, Tensor]:
        error = (found.velocity - given.target).square()
        return {"total": (error * relative_weight(windows)).mean(), "plain": error.mean()}

    def learned(self) -> tuple[str, dict[str, Tensor]]:
        return "dit.safetensors", self.average.values()
