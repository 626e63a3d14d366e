"""What `clear-rt export` can be told. No torch: the command line reads the defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from clear_rt.errors import ConfigError
from clear_rt.generator import LONGEST_SIDE_PX, LONGEST_WINDOW_LATENTS, MOST_STEPS, SHIFTS

Timesteps = Literal["exact", "bf16"]
Store = Literal["fp32", "fp16"]
ENGINES = ("onnx", "cuda")
STEP_COUNTS = (2, 3, 4, 5, 10, 20)
# One patch of 16 x 16.
LEAST_PIXELS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """How weights become a bundle. The windows' defaults are Wan's 81 frames with 16 of overlap.

    `timesteps` "bf16" tells the model 884 where 882.35 is meant, as the released code does (reference.md 5.3). `store`
    "fp16" keeps weights in half the bytes; arithmetic is fp32 either way. `prior` is a bundle whose occlusion prior is
    taken, the embedded one where None. Regions above `max_pixels` are scaled down at run time. With `draft` the weights
    were trained on drafts as their control (`clear_rt.draft`), not on the subtitled video as CLEAR's were.
    """

    engines: tuple[str, ...] = ("onnx",)
    adapter: Path | None = None
    lora_scale: float = 1.0
    prompt: str | None = None
    steps: int = 5
    step_counts: tuple[int, ...] = STEP_COUNTS
    timesteps: Timesteps = "exact"
    shift: float = 5.0
    window_latents: int = 21
    overlap_latents: int = 4
    max_pixels: int = 1280 * 720
    store: Store = "fp32"
    prior: Path | None = None
    draft: bool = False

    def __post_init__(self) -> None:
        unknown = [name for name in self.engines if name not in ENGINES]
        if unknown or not self.engines:
            raise ConfigError(f"--engine must be one of {', '.join(ENGINES)}, got {unknown[0] if unknown else 'none'}")
        if not isfinite(self.lora_scale):
            raise ConfigError(f"--lora-scale must be a number, got {self.lora_scale}")
        if not 1 <= self.window_latents <= LONGEST_WINDOW_LATENTS:
            raise ConfigError(f"--window must be 1 to {LONGEST_WINDOW_LATENTS} latents, got {self.window_latents}")
        if not 0 <= self.overlap_latents < self.window_latents:
            raise ConfigError(
                f"--overlap must be 0 or more and less than --window, got {self.overlap_latents} of "
                f"{self.window_latents} latents"
            )
        if not SHIFTS[0] <= self.shift <= SHIFTS[1]:
            raise ConfigError(f"--shift must be {SHIFTS[0]:g} to {SHIFTS[1]:g}, got {self.shift}")
        if not all(1 <= steps <= MOST_STEPS for steps in self.all_step_counts):
            raise ConfigError(f"--steps must be 1 to {MOST_STEPS}, got {self.steps}")
        if not LEAST_PIXELS <= self.max_pixels <= LONGEST_SIDE_PX**2:
            raise ConfigError(f"--max-pixels must be {LEAST_PIXELS} to {LONGEST_SIDE_PX**2}, got {self.max_pixels}")

    @property
    def all_step_counts(self) -> tuple[int, ...]:
        """Every number of steps that the bundle will run, its default among them."""
        return tuple(sorted({self.steps, *self.step_counts}))
