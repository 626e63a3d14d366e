"""The paper's ablation on any base: Stage II with LoRA alone, then with each of its parts added, and a table.

    python -m training.ablation --run runs/ablation --base runs/tiny/weights --data runs/tiny/latents --seeds 0 1 2

Every variant (`training.objective.ABLATION`) begins at the same base and the same adapter, sees the same batches and
the same noise, and is measured on the same validation windows. The command can be stopped and run again; variants that
are finished are passed over, and the table is printed of what there is. `--base` needs no more than a folder as
`clear-rt export` takes it.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from statistics import mean, stdev

from torch import Tensor

from clear_rt.errors import ClearError, ConfigError
from clear_rt.models.dit import Dit
from clear_rt.models.vae import Vae
from clear_rt.models.weights import load_dit, load_vae
from clear_rt.models.weights_folder import WeightsFolder, find_weights
from training.latent_data import Windows
from training.latent_figures import decoded, latent_errors, psnr_db, sampled
from training.objective import ABLATION
from training.stage_two import (
    PRESETS,
    StageTwoTrainer,
    StageTwoTraining,
    base_dtype,
    data_of,
    prompt_of,
    trainer_on,
)

# One as clear-tiny is shipped with, five as the paper samples.
SAMPLER_STEPS = (1, 5)
COLUMNS = {
    "text": ("error under text", 4),
    "rest": ("error elsewhere", 4),
    "change": ("error of change", 4),
    "psnr_text_db": ("PSNR under text, dB", 2),
    "psnr_db": ("PSNR, dB", 2),
}
_BASE = "base alone"
_DRAFT = "control as it is"
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationConfig:
    """What all variants share. `training` is Stage II's options; its objective and seed are set per run.

    They are measured on `windows` of the validation windows, evenly spread, on all where that is None: decoding takes
    as long as training where the VAE is torch's on a CPU.
    """

    base: Path
    data: Path
    seeds: tuple[int, ...] = (0,)
    windows: int | None = None
    training: StageTwoTraining = PRESETS["tiny"]

    @property
    def measured_on(self) -> str:
        """How many windows, in words."""
        return "all" if self.windows is None else str(self.windows)


class Judge:
    """The validation windows, decoded once, and what is measured on them; figures end in their sampler steps."""

    def __init__(self, vae: Vae, windows: Windows, batch: int) -> None:
        self._vae, self._windows, self._batch = vae, windows, batch

    @cached_property
    def _clean(self) -> list[Tensor]:
        return decoded(self._vae, self._windows.clean)

    def control(self) -> Figures:
        """Of the control as it is, without a model: `_0`."""
        return self._measured(self._windows.control, 0)

    def of(self, dit: Dit, prompt: Tensor) -> Figures:
        prompt = prompt.to(next(dit.parameters()).device)
        figures: Figures = {}
        for steps in SAMPLER_STEPS:
            figures |= self._measured(sampled(dit, prompt, self._windows.control, steps, batch=self._batch), steps)
        return figures

    def _measured(self, made: Tensor, steps: int) -> Figures:
        pictures = decoded(self._vae, made)
        found = latent_errors(made, self._windows)
        found |= psnr_db(pictures, self._clean, self._windows.maps, self._vae.config.latent_frames)
        return {f"{name}_{steps}": value for name, value in found.items()}


def run_ablation(run: Path, config: AblationConfig, stopped: threading.Event | None = None) -> dict[str, list[Figures]]:
    """Figures by variant, one per seed: what was there is read, what was not is trained and measured.

    Raises WeightsError and ConfigError as `trainer_on`; ConfigError, too, where a run was made with other options.
    """
    stopped = stopped or threading.Event()
    _check_same(run, config)
    data, found = data_of(config.data, config.training), find_weights(config.base)
    vae = load_vae(found.vae, found.vae_config).to(config.training.device)
    judge = Judge(vae, _some(data.validation(), config.windows), config.training.batch)
    figures = {
        _DRAFT: [_once(run / "control.json", judge.control)],
        _BASE: [_once(run / "base.json", lambda: judge.of(_base(found, config), prompt_of(found)))],
    }
    for seed in config.seeds:
        for number, (variant, objective) in enumerate(ABLATION.items()):
            if stopped.is_set():
                return figures
            folder = run / f"{number}-seed-{seed}"
            options = replace(config.training, objective=objective, seed=seed)
            # Also where it is finished: a run of other options is refused, not taken for this one.
            trainer = trainer_on(config.base, folder, options)
            trainer.train_to(data, options.steps, stopped)
            if trainer.step == options.steps:
                row = _once(folder / "figures.json", partial(_of_average, judge, trainer))
                figures.setdefault(variant, []).append(row)
    return figures


def _check_same(run: Path, config: AblationConfig) -> None:
    """Raises ConfigError where a run has figures of another base or other data."""
    path, now = run / "inputs.json", {name: str(getattr(config, name).resolve()) for name in ("base", "data")}
    now["windows"] = config.measured_on
    # Runs from before there was a choice were measured on all.
    before = {"windows": "all"} | json.loads(path.read_text()) if path.exists() else now
    if before != now:
        raise ConfigError(
            f"{run} was made with {_said(before)}, now asked for {_said(now)}; give the same, or another --run"
        )
    run.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(now) + "\n")


def _said(inputs: Mapping[str, str]) -> str:
    return f"{inputs['base']} and {inputs['data']}, measured on {inputs['windows']} windows"


def _some(windows: Windows, count: int | None) -> Windows:
    total = windows.clean.shape[0]
    if count is None or count >= total:
        return windows
    return Windows(*(part[:: total // count][:count] for part in windows))


def table(figures: Mapping[str, Sequence[Figures]], config: AblationConfig) -> str:
    """Markdown: a row per variant and number of sampler steps, mean over the seeds, with their deviation if several."""
    heads, training = [head for head, _ in COLUMNS.values()], config.training
    lines = [
        f"Stage II on {config.base}: {training.steps} steps of batch {training.batch}, rank {training.rank}, seeds "
        f"{', '.join(map(str, config.seeds))}. From noise in {' / '.join(map(str, SAMPLER_STEPS))} steps, measured on "
        f"{config.measured_on} validation windows.",
        "",
        f"| variant | {' | '.join(heads)} |",
        f"|---{'|---' * len(heads)}|",
    ]
    for variant in (_DRAFT, _BASE, *ABLATION):
        rows = figures.get(variant)
        if rows:
            cells = [_cell(rows, name, digits) for name, (_, digits) in COLUMNS.items()]
            lines.append(f"| {variant} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _once(path: Path, measure: Callable[[], Figures]) -> Figures:
    """What was measured, from the file if it is there."""
    if path.exists():
        stored: Figures = json.loads(path.read_text())
        return stored
    figures = measure()
    unfinished = path.with_suffix(".partial")
    unfinished.write_text(json.dumps(figures) + "\n")
    unfinished.rename(path)
    return figures


def _base(found: WeightsFolder, config: AblationConfig) -> Dit:
    return load_dit(found.dit, found.dit_config, base_dtype(config.training)).to(config.training.device)


def _of_average(judge: Judge, trainer: StageTwoTrainer) -> Figures:
    with trainer.average.in_place():
        return judge.of(trainer.model, trainer.prompt)


def _cell(rows: Sequence[Figures], name: str, digits: int) -> str:
    cells = []
    for steps in (0, *SAMPLER_STEPS):
        values = [row[f"{name}_{steps}"] for row in rows if f"{name}_{steps}" in row]
        if values:
            spread = f" ± {stdev(values):.{digits}f}" if len(values) > 1 else ""
            cells.append(f"{mean(values):.{digits}f}{spread}")
    return " / ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/ablation"))
    parser.add_argument("--base", type=Path, default=Path("runs/tiny/weights"))
    parser.add_argument("--data", type=Path, default=Path("runs/tiny/latents"))
    parser.add_argument("--preset", choices=PRESETS, default="tiny")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, help="as the preset has it if left out")
    parser.add_argument("--windows", type=int, help="measure on so many validation windows; on all if left out")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    training = replace(PRESETS[options.preset], device=options.device)
    training = training if options.steps is None else replace(training, steps=options.steps)
    if options.windows is not None and options.windows < 1:
        raise SystemExit(f"training: --windows must be 1 or more, got {options.windows}")
    config = AblationConfig(
        base=options.base, data=options.data, seeds=tuple(options.seeds), training=training, windows=options.windows
    )
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    try:
        figures = run_ablation(options.run, config, stopped)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None
    text = table(figures, config)
    (options.run / "table.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
