"""The VAE of clear-tiny: Wan's architecture at a base width of 12, trained on the footage of `training.materials`.

    python -m training.vae --run runs/vae --seed 0

Clips are cut first (a minute), then four stages of training of 20 minutes or less on two cores. The command can be
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
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from clear_rt.errors import ClearError
from clear_rt.models.config_json import as_json
from clear_rt.models.vae import Vae
from clear_rt.models.vae_blocks import PAST_FRAMES, AttentionBlock, CausalConv3d, ResidualBlock
from clear_rt.models.vae_config import VaeConfig
from clear_rt.threads import ahead
from training.fast_conv import by_taps
from training.resumable import Resumable, StageConfig, learning_rate
from training.vae_clips import synthesise
from training.vae_data import Clips
from training.vae_loss import LOGVAR_RANGE, psnr_db, vae_terms

# Latents are drawn around their means from the start: with sigma 1 (log variance 0) the decoder would see noise only.
FIRST_LOGVAR = -4.0
WARM_UP_STEPS = 50
LOG_EVERY = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeTraining(StageConfig):
    """Sizes that suit two cores; a GPU run changes `base_width`, `steps`, `batch` and `device` only.

    `batch` is times the clips of `vae_data.SHAPES`.
    """

    base_width: int = 12
    res_blocks: int = 1
    steps: int = 7500
    stages: int = 4
    batch: int = 1
    peak_lr: float = 2e-3
    weight_decay: float = 1e-3
    checkpoint_every: int = 200

    @property
    def vae(self) -> VaeConfig:
        """Of which the statistics of the latents are not known yet: means of 0, stds of 1."""
        channels = VaeConfig().latent_channels
        zeros, ones = (0.0,) * channels, (1.0,) * channels
        return VaeConfig(base_width=self.base_width, res_blocks=self.res_blocks, latent_means=zeros, latent_stds=ones)


def prepare(vae: Vae) -> None:
    """A start for training. Training PSNR, steps 51 to 60, one seed, L2: 14.6 dB; 14.4 without the first biases.

    13.8 dB with all taps drawn and no biases. Torch's own start was not tried under the same conditions.

    The trunk keeps the size of what passes, where torch's own start shrinks its variance to a third at each
    convolution; branches add nothing yet. Causal convolutions see the present only, as the past of a run is zeros. The
    first convolutions have biases of the size of their signal: a norm keeps directions alone, and without a constant
    to compare with a bright picture would have the direction of a dark one.
    """
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
        if isinstance(module, CausalConv3d):
            with torch.no_grad():
                module.weight[:, :, :PAST_FRAMES] = 0
                module.weight[:, :, PAST_FRAMES] *= (PAST_FRAMES + 1) ** 0.5
    for first in (vae.encoder.conv1, vae.decoder.conv1):
        nn.init.normal_(first.bias)
    for module in vae.modules():
        if isinstance(module, ResidualBlock):
            _zero(module.residual[-1])
        elif isinstance(module, AttentionBlock):
            _zero(module.proj)
    channels = vae.config.latent_channels
    with torch.no_grad():
        vae.conv1.weight[channels:] = 0
        vae.conv1.bias[channels:] = FIRST_LOGVAR


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class AutoEncoder(nn.Module):
    """Clips [B, 3, T, H, W] -> the same made again from drawn latents, and the latents' means and log variances."""

    def __init__(self, config: VaeConfig) -> None:
        super().__init__()
        self.vae = Vae(config)
        prepare(self.vae)
        by_taps(self.vae)

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


def _average(before: Tensor, now: Tensor, count: Tensor | int, decay: float) -> Tensor:
    """A running average that forgets its first steps: over a tenth of them all until `decay` is reached."""
    return before + (now - before) * max(1 - decay, 10 / (10 + int(count)))


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
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, avg_fn=lambda before, now, count: _average(before, now, count, config.average_decay)
        )
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), config.peak_lr, (0.9, 0.98), weight_decay=config.weight_decay, fused=True
        )
        self.resume()

    def advance(self, clips: Tensor) -> dict[str, float]:
        """One optimiser step on clips [B, 3, T, H, W] in [-1, 1]; the latents' noise is drawn by (seed, step)."""
        clips = clips.to(self.config.device)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config, WARM_UP_STEPS)
        noise = torch.Generator().manual_seed(self.config.seed * 1_000_003 + self.step)
        with self.autocast():
            made, mean, logvar = self.model(clips, noise)
        terms = vae_terms(made, clips, mean, logvar)
        self.optimiser.zero_grad(set_to_none=True)
        terms["total"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.average.update_parameters(self.model)
        self.step += 1
        return {name: value.item() for name, value in terms.items()} | {"gradient": norm.item()}


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


def batches(clips: Clips, config: VaeTraining, steps: range) -> Iterator[Tensor]:
    """The batch of every step, drawn by (seed, step): a resumed run sees what an unbroken one would have seen."""
    for step in steps:
        yield clips.batch(np.random.default_rng([config.seed, step]), config.batch)


def train(trainer: VaeTrainer, clips: Clips, last_step: int, stopped: threading.Event | None = None) -> None:
    """Train up to `last_step` or until `stopped`; measure, save and write at every checkpoint and at the end."""
    begun, sums, logged = time.monotonic(), dict[str, float](), trainer.step
    with closing(ahead(batches(clips, trainer.config, range(trainer.step, last_step)), depth=3)) as coming:
        for batch in coming:
            for name, value in trainer.advance(batch).items():
                sums[name] = sums.get(name, 0.0) + value
            stop = stopped is not None and stopped.is_set()
            if trainer.step % LOG_EVERY == 0:
                means = {name: round(value / (trainer.step - logged), 4) for name, value in sums.items()}
                trainer.record({"step": trainer.step, "seconds": round(time.monotonic() - begun, 1)} | means)
                sums, logged = {}, trainer.step
            if trainer.step % trainer.config.checkpoint_every == 0 or trainer.step == last_step or stop:
                trainer.save()
                found, config = measure(trainer, clips)
                write(trainer, config)
                trainer.record({"step": trainer.step} | found)
            if stop:
                return


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
