"""Sizes of the diffusion transformer, and the two checkpoints that people have."""

from __future__ import annotations

from dataclasses import dataclass

from clear_rt.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DitSizes:
    """What the transformer and its baked form have in common."""

    width: int
    heads: int
    layers: int
    ffn_width: int
    latent_channels: int = 16
    occlusion: bool = False
    eps: float = 1e-6

    @property
    def head_width(self) -> int:
        return self.width // self.heads

    @property
    def middle(self) -> int:
        """Index of the block whose tokens the occlusion head reads; blocks after it use what it says."""
        return self.layers // 2

    def is_weighted(self, block: int) -> bool:
        """Whether the self-attention of a block trusts keys under the subtitle less."""
        return self.occlusion and block > self.middle


@dataclass(frozen=True, slots=True, kw_only=True)
class DitConfig(DitSizes):
    """Sizes. `slots` inputs of `latent_channels` each: noise, control, start image (always zero for CLEAR).

    `image_width` 0 leaves out the image branch, which CLEAR feeds with zeros.
    Raises ConfigError where sizes do not fit together.
    """

    slots: int = 3
    freq_width: int = 256
    text_width: int = 4096
    text_tokens: int = 512
    image_width: int = 1280
    image_tokens: int = 257
    ref_conv: bool = True

    def __post_init__(self) -> None:
        counts = ("width", "heads", "layers", "ffn_width", "latent_channels", "slots", "freq_width", "text_width")
        for name in (*counts, "text_tokens", "image_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} of a transformer must be 1 or more, got {getattr(self, name)}")
        if self.image_width < 0 or self.eps <= 0:
            raise ConfigError(
                f"a transformer needs image_width >= 0 and eps > 0, got image_width {self.image_width}, eps {self.eps}"
            )
        if self.width % (2 * self.heads):
            raise ConfigError(
                f"width of a transformer must be an even number for each of {self.heads} heads, got {self.width}"
            )
        if self.freq_width % 2:
            raise ConfigError(f"freq_width of a transformer must be even, got {self.freq_width}")


WAN_FUN_CONTROL = DitConfig(width=1536, heads=12, layers=30, ffn_width=8960)
WAN_T2V = DitConfig(width=1536, heads=12, layers=30, ffn_width=8960, slots=1, image_width=0, ref_conv=False)
