"""The VAE of clear-tiny: Wan's architecture, narrow, trained on the footage of `training.materials`.

    python -m training.vae --run runs/vae --seed 0

Clips are cut first (a minute), then two stages of training of 20 minutes or less on two cores. The command can be
stopped at any moment and run again with the same options: checkpoints come every 200 steps and where it is stopped.
Every checkpoint leaves `vae.safetensors` (the running average, in Wan's names) and `vae.json` (its sizes and the
statistics of its latents) in the run's folder. `clear-rt export` takes the first as it is, the second as entry `vae`
of a config.json that also describes the transformer.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clear_rt.errors import ClearError
from clear_rt.models.config_json import as_json, from_json
from clear_rt.models.vae import Vae
from clear_rt.models.vae_config import VaeConfig
from clear_rt.models.weights import load_vae
from training.fast_conv import by_taps
from training.muon import Muon
from training.resumable import Resumable, StageConfig, learning_rate, running_average
from training.vae_clips import synthesise
from training.vae_data import Clips
from training.vae_loss import LOGVAR_RANGE, psnr_db, vae_terms
from training.vae_start import linear_start

# Latents are of unit size at the start, and are drawn around their means with sigma 0.05.
FIRST_LOGVAR = -6.0
WARM_UP_STEPS = 50
# Learning rate of biases and of norms, over that of matrices.
VECTOR_SHARE = 0.3
# What the first weights are worked out from: squares of nine frames.
START_CLIPS, START_FRAMES, START_SIDE_PX = 32, 9, 96


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeTraining(StageConfig):
    """Sizes that suit two cores; a GPU run changes `base_width`, `steps`, `batch` and `device` only.

    `batch` is times the clips of `vae_data.SHAPES`.
    """

    base_width: int = 8
    multipliers: tuple[int, ...] = (1, 2, 8, 8)
    res_blocks: int = 1
    steps: int = 1600
    stages: int = 2
    batch: int = 1
    # Of 80 steps each, decaying to 0, validation: 21.3 dB at 4e-3, 18.1 at 1e-2, 22.7 at 1e-3 (21.5 before the first).
    peak_lr: float = 1e-3
    checkpoint_every: int = 200

    @property
    def vae(self) -> VaeConfig:
        """Of which the statistics of the latents are not known yet: means of 0, stds of 1."""
        channels = VaeConfig().latent_channels
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        return VaeConfig(
            base_width=self.base_width,
            multipliers=self.multipliers,
            res_blocks=self.res_blocks,
            latent_means=zeros,
            latent_stds=ones,
        )


class AutoEncoder(nn.Module):
    """Clips [B, 3, T, H, W] -> the same made again from drawn latents, and the latents' means and log variances."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.vae = Vae(config)
        by_taps(self.vae)

    @torch.no_grad()
    def start(self, clips: Tensor) -> None:
        """The first weights, worked out from clips [B, 3, 4k + 1, H, W] in [-1, 1]."""
        linear_start(self.vae, clips)
        self.vae.conv1.bias[self.vae.config.latent_channels :] = FIRST_LOGVAR

    def forward(self, clips: Tensor, noise: torch.Generator | None) -> tuple[Tensor, Tensor, Tensor]:
        """Without `noise` the means are decoded. Pictures come in fp32, not clipped."""
        mean, logvar = self.moments(clips)
        latents = mean
        if noise is not None:
            drawn = torch.randn(mean.shape, generator=noise).to(mean)
            latents = mean + (0.5 * logvar).exp() * drawn
        return self.vae.decode(latents).float(), mean, logvar

    def moments(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log variances [B, 16, L, h, w] in fp32, from the one 1x1x1 convolution that gives both."""
        found: list[Tensor] = []
        hook = self.vae.conv1.register_forward_hook(lambda _module, _inputs, out: found.append(out))
        with hook:
            self.vae.encode(clips)
        mean, logvar = found[0].float().chunk(2, dim=1)
        return mean, logvar.clamp(*LOGVAR_RANGE)


class VaeTrainer(Resumable):
    """The VAE and its running average.

    Raises:
        ConfigError: the checkpoint of `run` was made with another config.
    """

    def __init__(self, run: Path, config: VaeTraining) -> None:
        super().__init__(run, config)
        torch.manual_seed(config.seed)
        run.mkdir(parents=True, exist_ok=True)
        self.model = AutoEncoder(config.vae).to(config.device)
        self.average = running_average(self.model, config.average_decay)
        self.optimiser = Muon(self.model.parameters(), config.peak_lr, vector_share=VECTOR_SHARE)
        self.resume()

    def begin(self, clips: Clips) -> None:
        """The first weights, where nothing was learned yet."""
        if self.step == 0:
            shape = (START_CLIPS, START_FRAMES, START_SIDE_PX, START_SIDE_PX)
            self.model.start(clips.drawn(np.random.default_rng(self.config.seed), shape).to(self.config.device))
            self.average.module.load_state_dict(self.model.state_dict())

    def advance(self, clips: Tensor) -> dict[str, float]:
        """One optimiser step on clips [B, 3, T, H, W] in [-1, 1]; the latents' noise is drawn by (seed, step)."""
        clips = clips.to(self.config.device)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config, WARM_UP_STEPS)
        noise = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        with self.autocast():
            made, mean, logvar = self.model(clips, noise)
        terms = vae_terms(made, clips, mean, logvar)
        return self.learn(terms["total"], terms)


@torch.inference_mode()
def measure(trainer: VaeTrainer, clips: Clips) -> tuple[dict[str, float], VaeConfig]:
    """PSNR of the running average on validation clips, whole and in rows that hold text; and the config to save.

    The latter's statistics of each latent channel are over all positions of the validation clips, nothing drawn.
    """
    model, device = trainer.average.module.eval(), trainer.config.device
    errors, texts, latents = [], [], []
    for clip, text in clips.validation():
        clip = clip.to(device)
        with trainer.autocast():
            made, mean, _ = model(clip, None)
        error = (made.clamp(-1, 1) - clip).square().mean(dim=(0, 1, 2))
        errors.append(error.mean().item())
        if text.any():
            texts.append(error[text.any(dim=1).to(device)].mean().item())
        latents.append(mean.transpose(0, 1).flatten(1).double())
    model.train()
    values = torch.cat(latents, dim=1)
    stds = values.std(dim=1).clamp_min(1e-4)
    config = replace(
        trainer.config.vae,
        latent_means=tuple(round(v, 5) for v in values.mean(dim=1).tolist()),
        latent_stds=tuple(round(v, 5) for v in stds.tolist()),
    )
    found = {
        "psnr_db": psnr_db(sum(errors) / len(errors)),
        "text_psnr_db": psnr_db(sum(texts) / max(len(texts), 1)),
        "std_least": min(config.latent_stds),
        "std_most": max(config.latent_stds),
    }
    return {name: round(value, 3) for name, value in found.items()}, config


def write(trainer: VaeTrainer, config: VaeConfig) -> None:
    """The running average as `vae.safetensors` and `config` as `vae.json`, in the run's folder."""
    state = trainer.average.module.vae.state_dict()
    save_file({n: t.detach().float().cpu().contiguous() for n, t in state.items()}, trainer.run / "vae.safetensors")
    (trainer.run / "vae.json").write_text(json.dumps({"vae": as_json(config)}, indent=1) + "\n")


def saved_vae(run: Path) -> Vae:
    """The VAE that a run has left, with the statistics of its latents."""
    described = json.loads((run / "vae.json").read_text())["vae"]
    return load_vae(run / "vae.safetensors", from_json(VaeConfig, described))


def batches(clips: Clips, config: VaeTraining, steps: range) -> Iterator[Tensor]:
    """The batch of every step, drawn by (seed, step): a resumed run sees what an unbroken one would have seen."""
    for step in steps:
        yield clips.batch(np.random.default_rng([config.seed, step]), config.batch)


def train(trainer: VaeTrainer, clips: Clips, last_step: int, stopped: threading.Event | None = None) -> None:
    """Train up to `last_step` or until `stopped`; measure, save and write at every checkpoint and at the end."""
    trainer.begin(clips)

    def checkpoint() -> dict[str, float]:
        found, config = measure(trainer, clips)
        write(trainer, config)
        return found

    trainer.train(
        batches(clips, trainer.config, range(trainer.step, last_step)), trainer.advance, last_step, checkpoint, stopped
    )


def _arguments() -> argparse.Namespace:
    known = VaeTraining()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/vae"))
    parser.add_argument("--seed", type=int, default=known.seed)
    parser.add_argument("--base-width", type=int, default=known.base_width)
    parser.add_argument("--res-blocks", type=int, default=known.res_blocks)
    parser.add_argument("--steps", type=int, default=known.steps)
    parser.add_argument("--batch", type=int, default=known.batch)
    parser.add_argument("--peak-lr", type=float, default=known.peak_lr)
    parser.add_argument("--device", default=known.device)
    parser.add_argument("--stages", type=int, default=known.stages, help="run this many of the stages, then stop")
    return parser.parse_args()


def main() -> None:
    options = vars(_arguments())
    run = options.pop("run")
    stages, config = options["stages"], VaeTraining(**options | {"stages": VaeTraining().stages})
    stopped = threading.Event()
    try:
        # Before the clips are cut: those of another seed must not get among what is there.
        trainer = VaeTrainer(run, config)
        synthesise(run / "clips", config.seed)
        clips = Clips(run / "clips")
        signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
        trainer.record({"config": asdict(config), "clips": clips.count(False), "validation": clips.count(True)})
        for stage in range(1, stages + 1):
            if not stopped.is_set():
                train(trainer, clips, config.steps * stage // config.stages, stopped)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None


if __name__ == "__main__":
    main()
