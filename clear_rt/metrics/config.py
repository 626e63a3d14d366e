"""What `clear-rt eval` measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clear_rt.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """Options of an evaluation; a file of weights switches its figure on.

    PSNR and what changed come from all frames. SSIM, MS-SSIM, LPIPS, DISTS and the text detector look at every
    `every_frames`-th, what neighbouring frames say at that and the next. LPIPS and DISTS want the backbone's weights
    and their own heads (`metrics.lpips`, `metrics.dists`), VFID a TorchScript network (`metrics.video_features`).
    """

    every_frames: int = 10
    find_text: bool = True
    lpips_weights: Path | None = None
    lpips_heads: Path | None = None
    dists_weights: Path | None = None
    dists_heads: Path | None = None
    vfid_weights: Path | None = None

    def __post_init__(self) -> None:
        if self.every_frames < 1:
            raise ConfigError(f"every_frames must be at least 1, got {self.every_frames}")
        for name, weights, heads in (
            ("lpips", self.lpips_weights, self.lpips_heads),
            ("dists", self.dists_weights, self.dists_heads),
        ):
            if (weights is None) != (heads is None):
                given, missing = ("weights", "heads") if heads is None else ("heads", "weights")
                raise ConfigError(
                    f"{name.upper()} needs the weights of its backbone and its own heads, got --{name}-{given} alone; "
                    f"give --{name}-{missing}, too"
                )

    @property
    def needs_clean(self) -> str | None:
        """The option that only a clean video gives a figure for, None where there is no such."""
        options = {
            "--lpips-weights": self.lpips_weights,
            "--dists-weights": self.dists_weights,
            "--vfid-weights": self.vfid_weights,
        }
        return next((name for name, path in options.items() if path is not None), None)
