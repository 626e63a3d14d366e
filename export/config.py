"""What `clear-rt export` and `build-engine` can be told. No torch: the command line reads the defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Literal

from clear_rt.errors import ConfigError
from clear_rt.generator import LONGEST_SIDE_PX, LONGEST_WINDOW_LATENTS, MOST_STEPS, SHIFTS
from clear_rt.shapes import Size

Timesteps = Literal["exact", "bf16"]
Store = Literal["fp32", "fp16"]
Precision = Literal["fp32", "bf16", "fp16", "fp8"]
ENGINES = ("onnx", "cuda", "trt")
STEP_COUNTS = (2, 3, 4, 5, 10, 20)
# One patch of 16 x 16.
LEAST_PIXELS = 256
PATCH_PX = 16
# Above as many keys some fused kernels overflow fp16 (design section 8); 1280x720x81 has 75,600.
MOST_KEYS_FP16 = 65_504


def lacking(package: str | None) -> ConfigError:
    """For a package that bundles are made with and that is not installed."""
    return ConfigError(
        f"a bundle needs {package} to be made, which is not installed; run pip install 'clear-rt[export]'"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """How weights become a bundle. The windows' defaults are Wan's 81 frames with 16 of overlap.

    `timesteps` "bf16" tells the model 884 where 882.35 is meant, as the released code does (reference.md 5.3). `store`
    "fp16" keeps weights in half the bytes; arithmetic is fp32 either way. `prior` is a bundle whose occlusion prior is
    taken, the embedded one where None. Regions above `max_pixels` are scaled down at run time. With `draft` the weights
    were trained on drafts as their control (`clear_rt.draft`), not on the subtitled video as CLEAR's were.

    `adapters` are merged with their scales. `prompt_file` is an embedding that needs no text encoder. `precision` is
    what TensorRT's engines compute in; with "fp8" the graphs for ONNX Runtime and the engine cuda quantise, too: by
    `scales`, a file, or by what `clips` with text show; with `fp8_attention` the inputs of attention as well.
    `profiles` are the only sizes of regions; TensorRT needs some.
    """

    engines: tuple[str, ...] = ("onnx",)
    adapters: tuple[tuple[Path, float], ...] = ()
    prompt: str | None = None
    prompt_file: Path | None = None
    precision: Precision = "fp32"
    profiles: tuple[Size, ...] = ()
    fp8_attention: bool = False
    scales: Path | None = None
    clips: tuple[Path, ...] = ()
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
        strange = next((scale for _, scale in self.adapters if not isfinite(scale)), None)
        if strange is not None:
            raise ConfigError(f"--lora-scale must be a number, got {strange}")
        self._check_precision()
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

    def _check_precision(self) -> None:
        if "trt" in self.engines and not self.profiles:
            raise ConfigError(
                "--engine trt needs the shapes to build for, got none; give --profile, such as 720p-band192"
            )
        if "trt" in self.engines and self.precision == "fp32":
            raise ConfigError("--engine trt computes in bf16, fp16 or fp8, got --precision fp32; name one of them")
        if self.fp8_attention and self.precision != "fp8":
            raise ConfigError(f"--fp8-attention is for --precision fp8, got {self.precision}; name that, too")
        if self.precision == "fp8" and self.scales is None and not self.clips:
            raise ConfigError(
                "--precision fp8 needs clips with subtitles to calibrate on, or scales, got neither; give --calibrate "
                "CLIP or --scales FILE"
            )
        if self.precision == "fp16" and self.most_tokens > MOST_KEYS_FP16:
            raise ConfigError(
                f"--precision fp16 takes windows of {MOST_KEYS_FP16} tokens at most, as attention over more overflows, "
                f"got {self.most_tokens}; use --precision bf16 or a smaller --profile"
            )

    @property
    def most_tokens(self) -> int:
        """Tokens of a window of the largest profile, 0 without profiles."""
        areas = [size.width_px * size.height_px for size in self.profiles]
        return max(areas, default=0) // PATCH_PX**2 * self.window_latents
