"""Stage I of the paper: the occlusion prior, from pixel differences alone.

    python -m training.prior --run runs/prior --seed 0

Stages, each of 20 minutes or less on two cores: pairs, then three of training; then the export into the bundle. The
command can be stopped at any moment and run again with the same options: shards and checkpoints (every 400 steps and at
the end of a stage) are picked up. What the data are drawn from, and what they must never be, stands in
`training/materials.py`. `--backbone resnet50 --device cuda` is the paper's size, on the same pairs or, with `--videos`,
on those of a folder (`training.paired_videos`); its prior is left as `prior.safetensors`, which no bundle takes but
`training.encoded_videos` does. `--begin BUNDLE` goes on from a bundle's prior (`training.prior_start`). With
`--role outliner` what is trained becomes the outliner of the bundle: it says where the text is that the prior found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.bundle import open_bundle
from clear_rt.errors import ClearError, ConfigError
from clear_rt.export.prior import Role, load_prior, write_bundle
from clear_rt.models.prior import PriorNet
from clear_rt.threads import ahead
from training.losses import stage_one
from training.materials import HELD_OUT, PACKAGES, STILLS, TRAINING
from training.mix import MIX
from training.networks import StageOne, StageOneNetwork
from training.networks_resnet import ResNetStageOne
from training.paired_videos import write_pairs
from training.pairs import synthesise
from training.prior_start import begin_at
from training.resumable import Resumable, StageConfig, learning_rate

Backbone = Literal["small", "resnet50"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig(StageConfig):
    """Sizes that suit two cores; a GPU run changes `steps`, `batch` and `device` only. The paper's: `PRESETS`.

    A step takes `accumulate` batches. `backbone_weights` is a file of ImageNet weights for resnet50, `mix` the version
    of what pairs are drawn from, `begin` the bundle whose prior training begins at.
    """

    steps: int = 7200
    stages: int = 3
    batch: int = 16
    peak_lr: float = 3e-3
    weight_decay: float = 1e-4
    checkpoint_every: int = 400
    backbone: Backbone = "small"
    backbone_weights: str | None = None
    accumulate: int = 1
    warm_up_steps: int = 200
    mix: int = MIX
    begin: str | None = None

    def __post_init__(self) -> None:
        if self.begin is not None and self.backbone != "small":
            raise ConfigError(f"--begin takes the prior of a bundle, which is small, not {self.backbone}; leave it out")


# The paper's 2e-5 (appendix B), else the released code's (reference.md 8.1): 20 pictures of a video to a batch, four
# batches to a step.
PRESETS: dict[Backbone, TrainConfig] = {
    "small": TrainConfig(),
    "resnet50": TrainConfig(backbone="resnet50", peak_lr=2e-5, batch=20, accumulate=4, warm_up_steps=500),
}
_BEFORE = {
    "backbone": "small",
    "backbone_weights": None,
    "accumulate": 1,
    "warm_up_steps": 200,
    "mix": 1,
    "begin": None,
}


_OPTIONS = ("seed", "steps", "batch", "peak_lr", "device", "backbone_weights", "begin")


class Crops:
    """Shards of `training.pairs` as one indexable set; every twelfth shard is kept for validation."""

    def __init__(self, folder: Path) -> None:
        shards = [np.load(path) for path in sorted(folder.glob("shard-???.npy"))]
        self._split: dict[bool, list[tuple[Any, int]]] = {False: [], True: []}
        for number, shard in enumerate(shards):
            self._split[number % 12 == 5] += [(shard, row) for row in range(len(shard))]

    def count(self, validation: bool) -> int:
        return len(self._split[validation])

    def batch(
        self, rows: np.ndarray, validation: bool, jitter: np.random.Generator | None = None
    ) -> tuple[Tensor, ...]:
        """Subtitled and clean [B, 3, H, W] in [-1, 1], label [B, 1, H, W]; jitter draws a gain per crop and channel."""
        crops = np.stack([shard[row] for shard, row in (self._split[validation][i] for i in rows)])
        x = torch.from_numpy(crops).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last).float()
        pictures = x[:, :6] / 255.0
        if jitter is not None:
            gain = jitter.uniform(0.8, 1.2, (len(rows), 1, 1, 1)) * jitter.uniform(0.92, 1.08, (len(rows), 3, 1, 1))
            pictures = (pictures * torch.from_numpy(np.tile(gain, (1, 2, 1, 1))).float()).clamp(0, 1)
        pictures = pictures * 2 - 1
        return pictures[:, :3], pictures[:, 3:], x[:, 6:]


@torch.inference_mode()
def validate(model: StageOneNetwork, crops: Crops, device: str, batch: int = 32) -> dict[str, float]:
    """IoU and recall of the label at p > 0.5, and the share of text-free crops with more than 20 such pixels."""
    model.eval()
    hit = union = positive = 0.0
    empty = alarms = 0
    for start in range(0, min(crops.count(True), 1200), batch):
        rows = np.arange(start, min(start + batch, crops.count(True)))
        subtitled, _, label = (t.to(device) for t in crops.batch(rows, True))
        found, truth = model.prior(subtitled)[0] > 0, label > 0
        hit += (found & truth).sum().item()
        union += (found | truth).sum().item()
        positive += truth.sum().item()
        clean = ~truth.flatten(1).any(dim=1)
        empty += int(clean.sum())
        alarms += int((found.flatten(1).sum(dim=1) > 20)[clean].sum())
    model.train()
    return {"iou": hit / max(union, 1), "recall": hit / max(positive, 1), "false_alarm_share": alarms / max(empty, 1)}


class Trainer(Resumable):
    """Stage I and its running average.

    Raises:
        ConfigError: the checkpoint of `run` was made with another config.
        WeightsError: as `load_resnet`.
    """

    config: TrainConfig

    def __init__(self, run: Path, config: TrainConfig) -> None:
        super().__init__(run, config)
        torch.manual_seed(config.seed)
        self.model = network(config).to(config.device, memory_format=torch.channels_last)
        self.average = torch.optim.swa_utils.AveragedModel(
            self.model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(config.average_decay), use_buffers=True
        )
        self.optimiser = torch.optim.AdamW(self.model.parameters(), config.peak_lr, weight_decay=config.weight_decay)
        self.resume()

    def begin(self, crops: Crops) -> None:
        """Before the first step: the prior as the bundle of `config.begin` has it. Raises BundleError as `begin_at`."""
        if self.step == 0 and self.config.begin is not None:
            pictures, *_ = crops.batch(np.linspace(0, crops.count(False) - 1, 64).astype(int), False)
            prior = self.model.prior
            assert isinstance(prior, PriorNet)
            begin_at(prior, open_bundle(Path(self.config.begin)).prior.graph, pictures.to(self.config.device))

    def trained_with(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """Checkpoints of earlier versions do not say it, or not all of it: `_BEFORE`, or else what it is now."""
        return asdict(self.config) | _BEFORE | state.get("config", {})

    def advance(self, *share: tuple[Tensor, ...]) -> dict[str, float]:
        """One optimiser step on `accumulate` batches; the means of the terms over them."""
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.step, self.config, self.config.warm_up_steps)
        self.optimiser.zero_grad(set_to_none=True)
        sums = dict[str, float]()
        for batch in share:
            subtitled, clean, label = (t.to(self.config.device) for t in batch)
            with self.autocast():
                out = self.model(subtitled)
            terms = stage_one({name: value.float() for name, value in out.items()}, clean, label)
            (terms["total"] / len(share)).backward()
            for name, value in terms.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(share)
        self.take_step()
        return sums


def network(config: TrainConfig) -> StageOneNetwork:
    """Untrained but for `backbone_weights`. Raises WeightsError as `load_resnet`."""
    if config.backbone == "small":
        return StageOne()
    return ResNetStageOne(None if config.backbone_weights is None else Path(config.backbone_weights))


def batches(crops: Crops, config: TrainConfig, steps: range) -> Iterator[list[tuple[Tensor, ...]]]:
    """The batches of every step, drawn by (seed, number): a resumed run sees what an unbroken one would have seen."""
    for step in steps:
        share = []
        for number in range(step * config.accumulate, (step + 1) * config.accumulate):
            rng = np.random.default_rng([config.seed, number])
            share.append(crops.batch(rng.integers(0, crops.count(False), config.batch), False, rng))
        yield share


def train_stage(trainer: Trainer, crops: Crops, last_step: int) -> None:
    """Train up to `last_step`, logging every 100 steps; validate and save at every checkpoint and at the end."""
    begun, sums = time.monotonic(), dict[str, float]()
    for share in ahead(batches(crops, trainer.config, range(trainer.step, last_step)), depth=3):
        for name, value in trainer.advance(*share).items():
            sums[name] = sums.get(name, 0.0) + value / 100
        if trainer.step % 100 == 0:
            seconds = round(time.monotonic() - begun, 1)
            trainer.record({"step": trainer.step, "seconds": seconds} | {k: round(v, 4) for k, v in sums.items()})
            sums.clear()
        if trainer.step % trainer.config.checkpoint_every == 0 or trainer.step == last_step:
            trainer.save()
            trainer.record({"step": trainer.step} | measured(trainer, crops))


def measured(trainer: Trainer, crops: Crops) -> dict[str, float]:
    """`validate` of the running average, which is what the export takes from the checkpoint; four digits."""
    found = validate(trainer.average.module, crops, trainer.config.device)
    return {name: round(value, 4) for name, value in found.items()}


def training_notes(config: TrainConfig, crops: Crops, found: dict[str, float]) -> dict[str, Any]:
    """What a bundle's manifest says of its prior's training."""
    clips = {name: digest for package in PACKAGES for _, name, digest in package.members if name in TRAINING}
    options = f"--seed {config.seed} --steps {config.steps} --batch {config.batch} --peak-lr {config.peak_lr}"
    begun = None
    if config.begin is not None:
        options += f" --begin {config.begin}"
        begun = sha256(open_bundle(Path(config.begin)).prior.graph).hexdigest()
    return {
        "command": f"python -m training.prior {options}",
        "begun_at_sha256": begun,
        "clips_sha256": clips,
        "stills": list(STILLS),
        "never_used": list(HELD_OUT),
        "mix": config.mix,
        "crops": crops.count(False),
        "validation_crops": crops.count(True),
        "validation": found,
    }


def train(trainer: Trainer, stages: int, bundle: Path | None, role: Role = "prior") -> None:
    """Train the first `stages` stages on the run's shards; after the last one, export what the checkpoint holds."""
    run, config = trainer.run, trainer.config
    crops = Crops(run / "pairs")
    trainer.begin(crops)
    trainer.record({"config": asdict(config), "crops": crops.count(False), "validation": crops.count(True)})
    for stage in range(1, stages + 1):
        train_stage(trainer, crops, config.steps * stage // config.stages)
    if trainer.step == config.steps and config.backbone != "small":
        state = trainer.average.module.prior.state_dict()
        values = {n: t.detach().cpu().contiguous() for n, t in state.items() if t.is_floating_point()}
        save_file(values, run / "prior.safetensors")
    elif trainer.step == config.steps:
        notes = training_notes(config, crops, measured(trainer, crops))
        write_bundle(load_prior(trainer.path), bundle or run / "clear-tiny", notes, role)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/prior"))
    parser.add_argument("--backbone", choices=PRESETS, default="small")
    parser.add_argument("--backbone-weights", help="ImageNet weights for resnet50, as torchvision stores them")
    parser.add_argument("--videos", type=Path, help="a folder of X.mp4 and X_with_subtitle.mp4 instead of drawn pairs")
    for name in ("seed", "steps", "batch"):
        parser.add_argument(f"--{name}", type=int, help="as the backbone's preset has it if left out")
    parser.add_argument("--peak-lr", type=float, help="as the backbone's preset has it if left out")
    parser.add_argument("--begin", help="a bundle whose prior training begins at, in the place of random weights")
    parser.add_argument("--device", default=TrainConfig().device)
    parser.add_argument(
        "--stages", type=int, default=TrainConfig().stages, help="run this many of the training stages, then stop"
    )
    parser.add_argument("--bundle", type=Path, help="where the bundle goes; RUN/clear-tiny if left out")
    parser.add_argument("--role", choices=get_args(Role), default="prior", help="what the bundle takes it for")
    return parser.parse_args()


def main() -> None:
    arguments = _arguments()
    given = {name: getattr(arguments, name) for name in _OPTIONS}
    try:
        config = replace(PRESETS[arguments.backbone], **{n: v for n, v in given.items() if v is not None})
        # Before the pairs are drawn: those of another seed must not get among what is there.
        trainer = Trainer(arguments.run, config)
        if arguments.videos is None:
            synthesise(arguments.run / "pairs", config.seed)
        else:
            write_pairs(arguments.videos, arguments.run / "pairs", config.seed)
        train(trainer, arguments.stages, arguments.bundle, arguments.role)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None


if __name__ == "__main__":
    main()
