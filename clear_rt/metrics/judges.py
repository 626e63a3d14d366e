"""What is loaded once for all pairs of an evaluation, and what is pooled over them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt

from clear_rt.metrics.config import EvalConfig
from clear_rt.metrics.frechet import FeatureSum, frechet
from clear_rt.metrics.optional import check_networks
from clear_rt.metrics.text import TextFinder

if TYPE_CHECKING:
    from clear_rt.metrics.video_features import VideoBackbone

UInt8 = npt.NDArray[np.uint8]
# Of two pictures uint8 [H, W, 3]; None where they are too small for the network.
Distance = Callable[[UInt8, UInt8], float | None]


@dataclass(slots=True)
class Pooled:
    """Features of all pairs together, of results and of clean videos."""

    result: FeatureSum = field(default_factory=FeatureSum)
    clean: FeatureSum = field(default_factory=FeatureSum)

    def vfid(self) -> float | None:
        """None below two snippets."""
        return frechet(self.result, self.clean)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judges:
    """None: not asked for."""

    finder: TextFinder | None = None
    lpips: Distance | None = None
    dists: Distance | None = None
    video_backbone: VideoBackbone | None = None
    pooled: Pooled = field(default_factory=Pooled)

    @classmethod
    def load(cls, config: EvalConfig) -> Self:
        """Raises ConfigError where a package is missing, WeightsError where a file is not what it should be."""
        return cls(
            finder=TextFinder() if config.find_text else None,
            lpips=_lpips(config),
            dists=_dists(config),
            video_backbone=_video_backbone(config),
        )


def _lpips(config: EvalConfig) -> Distance | None:
    if config.lpips_weights is None or config.lpips_heads is None:
        return None
    check_networks("--lpips-weights")
    from clear_rt.metrics.lpips import Lpips

    return Lpips(config.lpips_weights, config.lpips_heads)


def _dists(config: EvalConfig) -> Distance | None:
    if config.dists_weights is None or config.dists_heads is None:
        return None
    check_networks("--dists-weights")
    from clear_rt.metrics.dists import Dists

    return Dists(config.dists_weights, config.dists_heads)


def _video_backbone(config: EvalConfig) -> VideoBackbone | None:
    if config.vfid_weights is None:
        return None
    check_networks("--vfid-weights")
    from clear_rt.metrics.video_features import VideoBackbone

    return VideoBackbone(config.vfid_weights)
