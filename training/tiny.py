"""clear-tiny, the embedded generative model, from footage to bundle: one seeded command.

    python -m training.tiny --run runs/tiny --seed 0 --bundle clear_rt/bundles/clear-tiny

In turn: clips, VAE (two stages), latents, base (three stages), Stage II, export. Each takes 20 minutes or less on two
cores, two hours in all; `--stages 1` stops after the next one. The command can be stopped at any moment and run again
with the same options: what is finished is passed over, what was begun goes on from its last checkpoint. `--recipe gpu`
is the same at a size for an H100, with `--device cuda`.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clear_rt.bundle import EMBEDDED
from clear_rt.errors import ClearError
from clear_rt.export.bundle import export
from clear_rt.export.config import ExportConfig
from training import latent_pairs, vae_clips
from training.base import BaseTrainer, BaseTraining
from training.latent_data import LatentPairs
from training.materials import HELD_OUT, PACKAGES, STILLS, TRAINING
from training.stage_two import StageTwoTrainer, StageTwoTraining
from training.vae import VaeTrainer, VaeTraining, train
from training.vae_data import Clips
from training.weights_folder import write_weights

# 17 frames, four of which the next window sees again.
WINDOW_LATENTS, OVERLAP_LATENTS = 5, 1
# Larger regions are scaled down: training saw bands of eight pieces of 96 px, in pictures of 288 to 720 rows.
MAX_PIXELS = 960 * 192
# More steps cost PSNR after Stage II: -0.26 dB against the membrane with 4, +0.20 with one (docs/CLEAR-TINY.md).
STEPS = 1
STEP_COUNTS = (1, 2, 3, 4, 5, 10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """The sizes of one whole training."""

    vae: VaeTraining
    base: BaseTraining
    stage_two: StageTwoTraining

    def with_options(self, **options: Any) -> Recipe:  # noqa: ANN401 - fields of `StageConfig`
        return Recipe(**{name: replace(getattr(self, name), **options) for name in self.__slots__})


RECIPES = {
    "cpu": Recipe(vae=VaeTraining(), base=BaseTraining(), stage_two=StageTwoTraining()),
    "gpu": Recipe(
        vae=VaeTraining(base_width=24, multipliers=(1, 2, 4, 4), res_blocks=2, batch=16, steps=12_000),
        base=BaseTraining(width=256, heads=4, layers=8, batch=192, steps=20_000),
        stage_two=StageTwoTraining(rank=64, batch=192, steps=5_000),
    ),
}


@dataclass(frozen=True, slots=True)
class Stage:
    """One piece of the work, which leaves the file `done` when it is finished."""

    name: str
    run: Callable[[], None]
    done: Path


def stages(run: Path, recipe: Recipe, bundle: Path, stopped: threading.Event) -> Iterator[Stage]:
    seed, marks = recipe.vae.seed, run / "done"
    clips, vae, latents, base, two = (run / name for name in ("clips", "vae", "latents", "base", "stage-two"))

    def stage(name: str, work: Callable[[], None]) -> Stage:
        return Stage(name, work, marks / name)

    yield stage("clips", lambda: _ignored(vae_clips.synthesise(clips, seed)))
    for i in range(1, recipe.vae.stages + 1):
        last_step = recipe.vae.steps * i // recipe.vae.stages
        yield stage(f"vae-{i}", lambda last=last_step: train(VaeTrainer(vae, recipe.vae), Clips(clips), last, stopped))
    yield stage("latents", lambda: _ignored(latent_pairs.synthesise(latents, clips, vae, seed)))
    for i in range(1, recipe.base.stages + 1):
        last_step = recipe.base.steps * i // recipe.base.stages
        yield stage(
            f"base-{i}",
            lambda last=last_step: BaseTrainer(base, recipe.base).train_to(LatentPairs(latents), last, stopped),
        )
    sizes = replace(recipe.base.dit, occlusion=True)
    yield stage(
        "stage-two",
        lambda: StageTwoTrainer(two, recipe.stage_two, base / "dit.safetensors", sizes).train_to(
            LatentPairs(latents), recipe.stage_two.steps, stopped
        ),
    )
    yield stage("export", lambda: exported(run, recipe, bundle))


def exported(run: Path, recipe: Recipe, bundle: Path) -> None:
    """The trained model as a bundle, its training in the manifest; the prior and what is said of it stay."""
    folder = run / "weights"
    write_weights(folder, run / "base" / "dit.safetensors", recipe.base.dit, run / "vae")
    before = json.loads((EMBEDDED / "manifest.json").read_text())["training"]
    config = ExportConfig(
        adapters=((run / "stage-two" / "adapter.safetensors", 1.0),),
        steps=STEPS,
        step_counts=STEP_COUNTS,
        window_latents=WINDOW_LATENTS,
        overlap_latents=OVERLAP_LATENTS,
        max_pixels=MAX_PIXELS,
        store="fp16",
        draft=True,
    )
    notes = {name: before[name] for name in ("prior", "outliner") if name in before}
    notes["generator"] = training_notes(run, recipe)
    export(folder, bundle, config, notes=notes)


def training_notes(run: Path, recipe: Recipe) -> dict[str, Any]:
    """What the manifest says of the generator's training."""
    clips = {name: digest for package in PACKAGES for _, name, digest in package.members if name in TRAINING}
    logs = {part: (run / part / "log.jsonl").read_text().splitlines() for part in ("vae", "base", "stage-two")}
    return {
        "command": f"python -m training.tiny --seed {recipe.vae.seed}",
        "clips_sha256": clips,
        "stills": list(STILLS),
        "never_used": list(HELD_OUT),
        "validation": {part: json.loads(rows[-1]) for part, rows in logs.items()},
    }


def _ignored(_count: int) -> None:
    """A stage returns nothing."""


def run_stages(found: Iterator[Stage], most: int | None, stopped: threading.Event) -> None:
    """Runs what is not done yet, `most` stages at most, until `stopped`."""
    ran = 0
    for stage in found:
        if stopped.is_set() or ran == most:
            return
        if stage.done.exists():
            continue
        begun = time.monotonic()
        print(f"stage {stage.name}", flush=True)
        stage.run()
        if not stopped.is_set():
            stage.done.parent.mkdir(parents=True, exist_ok=True)
            stage.done.write_text(f"{time.monotonic() - begun:.0f} s\n")
            ran += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--run", type=Path, default=Path("runs/tiny"))
    parser.add_argument("--recipe", choices=RECIPES, default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--stages", type=int, help="run this many of the stages that are left, then stop")
    parser.add_argument("--bundle", type=Path, help="where the bundle goes; RUN/clear-tiny if left out")
    options = parser.parse_args()
    recipe = RECIPES[options.recipe].with_options(seed=options.seed, device=options.device)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda _number, _frame: stopped.set())
    try:
        bundle = options.bundle or options.run / "clear-tiny"
        run_stages(stages(options.run, recipe, bundle, stopped), options.stages, stopped)
    except ClearError as error:
        raise SystemExit(f"training: {error}") from None


if __name__ == "__main__":
    main()
