"""`--baseline`: the work of a profile by diffusers on the same GPU, beside what our engine took for it.

Set up fairly: bfloat16, no LoRA to compute, untiled VAE, the fastest attention that torch has, the same region and
windows. `compile` puts the transformer's blocks through torch.compile; `reference` is what the released code does
instead: an unmerged LoRA and a tiled VAE.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clear_rt.bench.config import BaselineName
from clear_rt.bench.device import is_out_of_memory, peaks, release, reset_peaks
from clear_rt.bench.network import Window
from clear_rt.errors import ConfigError, EngineError
from clear_rt.runtime.device import gpu_count

if TYPE_CHECKING:
    from torch import device as Device

    from clear_rt.bench.document import Document
    from clear_rt.bench.plan import Plan
    from clear_rt.bench.sizes import Sizes
    from clear_rt.shapes import Size

# A step takes tenths of a second, coding a window seconds.
STEP_RUNS, CODING_RUNS = 5, 2


@dataclass(frozen=True, slots=True)
class BaselineTimes:
    """Seconds of one step of a window, and of coding all frames of a run of one window."""

    step_s: float
    encode_s: float
    decode_s: float
    window: Window
    attention: str

    def seconds_per_window(self, steps: int) -> float:
        """Of a steady window: coding counts for its new frames alone."""
        share = self.window.new_frames / self.window.frames
        return steps * self.step_s + share * (self.encode_s + self.decode_s)

    def fps(self, steps: int) -> float:
        """New frames a second of a steady window."""
        return self.window.new_frames / self.seconds_per_window(steps)


def require_baselines(names: Sequence[BaselineName]) -> None:
    """Raises ConfigError where there is no GPU, EngineError where what is asked for is not installed."""
    if not names:
        return
    option = f"--baseline {names[0]}"
    if not gpu_count():
        raise ConfigError(f"{option} needs an NVIDIA GPU, and there is none here; leave it out")
    try:
        import diffusers  # noqa: F401
        import torch

        if "reference" in names:
            import peft  # noqa: F401
    except (ImportError, OSError) as error:
        raise EngineError(
            f"{option} needs torch and diffusers, which cannot be imported ({' '.join(str(error).split())}); "
            "run pip install 'clear-rt[export]' or leave it out"
        ) from None
    if not torch.cuda.is_available():
        raise EngineError(f"{option} needs a torch that finds the GPU; install one for CUDA or leave it out")


def baselines(
    names: Sequence[BaselineName],
    plans: Sequence[Plan],
    sizes: Sizes,
    profiles: Sequence[Document],
    tell: Callable[[str], None] = lambda stage: None,
) -> list[dict[str, Any]]:
    """A row for each baseline and profile, JSON types; `profiles` are the entries that ours are taken from.

    Call it when the engine is gone: its memory is needed.
    """
    import torch

    ours = {profile["profile"]: profile for profile in profiles}
    rows = []
    for plan in plans:
        for name in names:
            tell(f"{plan.profile.name}: {name}")
            release()
            reset_peaks()
            rows.append(
                {"profile": plan.profile.name, "baseline": name}
                | _row(name, plan, sizes, ours.get(plan.profile.name), torch.device("cuda"))
            )
            release()
    return rows


def _row(name: BaselineName, plan: Plan, sizes: Sizes, ours: dict[str, Any] | None, device: Device) -> dict[str, Any]:
    try:
        found = measure_baseline(name, sizes, plan.size, plan.window, device)
    except Exception as error:
        if is_out_of_memory(error):
            return {"not_measured": f"the GPU's memory does not hold it ({' '.join(str(error).split())[:120]})"}
        if isinstance(error, (EngineError, RuntimeError)):
            return {"not_measured": " ".join(str(error).split())[:300]}
        raise
    fps = found.fps(plan.steps)
    return {
        "attention": found.attention,
        "step_s": found.step_s,
        "encode_s": found.encode_s,
        "decode_s": found.decode_s,
        "seconds_per_window": found.seconds_per_window(plan.steps),
        "fps": fps,
        "ratio": None if ours is None else ours["network"]["fps"] / fps,
        "gpu_reserved_bytes": peaks(since_reset=True)["gpu_reserved_bytes"],
    }


def measure_baseline(
    name: BaselineName,
    sizes: Sizes,
    size: Size,
    window: Window,
    device: Device,
    *,
    step_runs: int = STEP_RUNS,
    coding_runs: int = CODING_RUNS,
) -> BaselineTimes:
    """Networks of these sizes at a region of `size`; the transformer is gone before the VAE is made.

    Raises what torch and diffusers raise, EngineError where no attention runs.
    """
    import torch

    from clear_rt.bench.diffusers_networks import coding_seconds, step_seconds, transformer_of, vae_of

    reference = name == "reference"
    grid = (window.latents, size.height_px // sizes.vae.latent_px, size.width_px // sizes.vae.latent_px)
    with torch.no_grad():
        transformer = transformer_of(sizes.dit, device, adapted=reference)
        step_s, attention = step_seconds(transformer, sizes.dit, grid, step_runs, compiled=name == "compile")
        del transformer
        release()
        vae = vae_of(sizes.vae, device, tiled=reference)
        encode_s, decode_s = coding_seconds(vae, size, window, coding_runs)
    return BaselineTimes(step_s, encode_s, decode_s, window, attention)
