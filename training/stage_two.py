"""Stage II of the paper on any base: LoRA, occlusion head and learned beta, taught by the prior's maps.

    python -m training.stage_two --base DIR --data DIR --run DIR --preset real --device cuda

`--base` is a folder as `clear-rt export` takes it: Wan2.1-Fun-V1.1-1.3B-Control as released, or `weights` of a run of
`training.tiny`. `--data` holds shards of latents: of `training.latent_pairs` for the preset tiny, of
`training.encoded_videos` for real. The base stays as it is; what is learned leaves as `adapter.safetensors` in the
names of CLEAR's checkpoint, which `clear-rt export --lora` merges. The command can be stopped and run again; several
GPUs: `training.processes`.
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from clear_rt.errors import ClearError
from clear_rt.export.prompt import prompt_for
from clear_rt.models.dit import DitOutput
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.dit_names import OCCLUSION_BETA
from clear_rt.models.weights_folder import WeightsFolder, find_weights
from training.adapter import learned_tensors, parameters_of, with_adapter
from training.flow import FlowTrainer, FlowTraining, Noised, WindowData, relative_weight
from training.latent_data import LatentPairs, Windows
from training.objective import WHOLE, Objective
from training.processes import ALONE, Processes, launched
from training.recomputed import recompute_blocks
from training.resumable import computes_bfloat16
from training.whole_windows import WholeWindows


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTwoTraining(FlowTraining):
    """Sizes that suit clear-tiny and two cores; the paper's are those of `PRESETS["real"]`.

    `batch` counts pieces as in `BaseTraining`, or with `whole` windows as they were encoded. `relative`: errors count
    by those of the draft of their piece (`relative_weight`), to the 1.8. `base_dtype` is what the base is held in
    where the device computes in bf16; the adapter is in fp32 always. `recompute`: `training.recomputed`.
    """

    rank: int = 16
    objective: Objective = WHOLE
    steps: int = 300
    stages: int = 1
    batch: int = 12
    peak_lr: float = 2e-3
    average_decay: float = 0.995
    checkpoint_every: int = 100
    optimiser: Literal["muon", "adamw"] = "muon"
    whole: bool = False
    relative: bool = True
    base_dtype: Literal["float32", "bfloat16"] = "float32"
    recompute: bool = False


# The paper's (appendix B) and, where it says nothing, the released code's (reference.md 8.2): AdamW at 1e-4 down to
# 10 %, one window per GPU on eight of them, checkpoints every 25 steps. 500 windows an epoch; best results at 350.
PRESETS = {
    "tiny": StageTwoTraining(),
    "real": StageTwoTraining(
        rank=64,
        steps=1000,
        batch=1,
        accumulate=8,
        peak_lr=1e-4,
        least_lr_share=0.1,
        warm_up_steps=1,
        average_decay=0.99,
        checkpoint_every=25,
        optimiser="adamw",
        whole=True,
        relative=False,
        base_dtype="bfloat16",
        recompute=True,
    ),
}
_ADAM_BETAS, _ADAM_DECAY = (0.9, 0.999), 0.01


class StageTwoTrainer(FlowTrainer):
    """A transformer of which adapter, occlusion head and beta learn. Raises ConfigError as `FlowTrainer`."""

    config: StageTwoTraining
    # The head's last layer is one row, for the optimiser a vector, and begins at 0.
    vector_share = 1.0

    def __init__(
        self,
        run: Path,
        config: StageTwoTraining,
        base: Path | Sequence[Path],
        sizes: DitConfig,
        prompt: Tensor | None = None,
        processes: Processes = ALONE,
    ) -> None:
        """`base` is the file, or the shards, of a transformer of `sizes`; its occlusion is as the objective has it."""
        torch.manual_seed(config.seed)
        sizes = replace(sizes, occlusion=config.objective.has_head)
        model = with_adapter(base, sizes, config.rank, base_dtype(config))
        if config.recompute:
            recompute_blocks(model)
        super().__init__(run, config, model, prompt, processes)

    def new_optimiser(self) -> torch.optim.Optimizer:
        if self.config.optimiser == "muon":
            return super().new_optimiser()
        learning = [p for p in self.model.parameters() if p.requires_grad]
        return torch.optim.AdamW(learning, self.config.peak_lr, betas=_ADAM_BETAS, weight_decay=_ADAM_DECAY)

    @torch.no_grad()
    def constrain(self) -> None:
        """A beta below 0 counts as 0 and has no gradient, so it is put back there.

        The head begins with one value for all keys, which softmax does not see: the first steps are rounding noise.
        """
        for name, parameter in self.model.named_parameters():
            if name.endswith(OCCLUSION_BETA):
                parameter.clamp_(min=0)

    def terms(self, found: DitOutput, given: Noised, windows: Windows) -> dict[str, Tensor]:
        weight = relative_weight(windows).sqrt() if self.config.relative else 1.0
        return self.config.objective.terms(found, given.target, windows, weight, self.step)

    def learned(self) -> tuple[str, dict[str, Tensor]]:
        return "adapter.safetensors", learned_tensors(self.average.values())


def base_dtype(config: StageTwoTraining) -> torch.dtype:
    """What the base is held in: fp32 where the device would emulate bf16."""
    narrow = config.base_dtype == "bfloat16" and computes_bfloat16(torch.device(config.device).type)
    return torch.bfloat16 if narrow else torch.float32


def prompt_of(found: WeightsFolder) -> Tensor:
    """The prompt that a base is trained with, float32 [P, text width]. Raises WeightsError as `prompt_for`."""
    return prompt_for(found).embedding.float()


def trainer_on(base: Path, run: Path, config: StageTwoTraining, processes: Processes = ALONE) -> StageTwoTrainer:
    """Stage II on the transformer and the prompt in a folder of weights, tiny or real, Wan's names or diffusers'.

    Raises WeightsError where the folder holds no such model, ConfigError as `FlowTrainer`.
    """
    found = find_weights(base)
    return StageTwoTrainer(run, config, found.dit, found.dit_config, prompt_of(found), processes)


def data_of(folder: Path, config: StageTwoTraining) -> WindowData:
    """Raises ConfigError where the folder holds too few shards."""
    return WholeWindows(folder) if config.whole else LatentPairs(folder)


def run_stage(base: Path, data: Path, run: Path, config: StageTwoTraining, stopped: threading.Event) -> None:
    """Trains up to the last step, or until `stopped`, alone or together with the other processes launched."""
    processes = launched(config.device)
    config = replace(config, device=processes.device(config.device))
    windows = data_of(data, config)
    trainer = trainer_on(base, run, config, processes)
    learning, every = parameters_of(trainer.model)
    trainer.record({"config": asdict(config), "learning": learning, "parameters": every, "processes": processes.count})
    trainer.train_to(windows, config.steps, stopped)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    for name, kind in (("seed", int), ("rank", int), ("steps", int), ("batch", int), ("accumulate", int)):
        parser.add_argument(f"--{name}", type=kind, help="as the preset has it if left out")
    parser.add_argument("--peak-lr", type=float, help="as the preset has it if left out")
    parser.add_argument("--feedback", action="store_true", help="the head learns from the weight, too, as in the paper")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    known = {field.name for field in fields(StageTwoTraining)}
    given = {name: value for name, value in vars(options).items() if name in known and value is not None}
    config = replace(PRESETS[options.preset], objective=replace(WHOLE, feedback=options.feedback), **given)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    try:
        run_stage(options.base, options.data, options.run, config, stopped)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None


if __name__ == "__main__":
    main()
