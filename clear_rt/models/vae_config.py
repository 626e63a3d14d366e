"""Sizes of a Wan VAE, and the statistics that its latents are normalised with. Source: reference.md 3.1 and 3.3."""

from __future__ import annotations

from dataclasses import dataclass

from clear_rt.errors import ConfigError

WAN_MEANS = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
WAN_STDS = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class VaeConfig:
    """Sizes; the defaults are Wan 2.1's. Raises ConfigError where the fields do not fit together.

    `multipliers`: channels of each stage over `base_width`, finest first; every stage but the last halves height and
    width. `temporal_down`: one per halving, finest first, True where it halves the frames as well. `res_blocks`: per
    encoder stage; a decoder stage has one more. Latent = (encoded mean - latent_means) / latent_stds.
    """

    base_width: int = 96
    multipliers: tuple[int, ...] = (1, 2, 4, 4)
    res_blocks: int = 2
    latent_channels: int = 16
    temporal_down: tuple[bool, ...] = (False, True, True)
    latent_means: tuple[float, ...] = WAN_MEANS
    latent_stds: tuple[float, ...] = WAN_STDS

    def __post_init__(self) -> None:
        if not self.multipliers or min(self.base_width, self.res_blocks, self.latent_channels, *self.multipliers) < 1:
            raise ConfigError(f"the sizes of a VAE must be 1 or more, got {self}")
        if self.base_width % 2:
            raise ConfigError(f"base_width of a VAE must be even, as upsampling halves it, got {self.base_width}")
        lengths = {
            "temporal_down": len(self.multipliers) - 1,
            "latent_means": self.latent_channels,
            "latent_stds": self.latent_channels,
        }
        for name, length in lengths.items():
            if len(getattr(self, name)) != length:
                raise ConfigError(f"{name} of a VAE must hold {length} values here, got {getattr(self, name)}")
        if min(self.latent_stds) <= 0:
            raise ConfigError(f"latent_stds of a VAE must be above 0, got {self.latent_stds}")

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each stage, finest first."""
        return tuple(self.base_width * multiplier for multiplier in self.multipliers)

    @property
    def latent_px(self) -> int:
        """Pixels per latent, each way."""
        return 2 ** len(self.temporal_down)

    @property
    def latent_frames(self) -> int:
        """Frames per latent after the first, which holds one."""
        return 2 ** sum(self.temporal_down)


WAN_VAE = VaeConfig()
