"""What Stage II goes down: which of the paper's parts are on, and how much each counts.

The paper adds them one by one (reference.md 9): LoRA alone; M1 prior and focal weight; M2 distillation; M3 adaptation;
M4 consistency. It names no more than that, so this is our reading: with M1 errors count by the prior's map and their
own size, at the mean of alpha(k); with M2 the occlusion head learns the prior's map and weighs attention; with M3 the
weight follows the head's map and alpha(k); M4 is L_sparse, which holds the head to the prior, and consistency over
time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from clear_rt.errors import ConfigError
from clear_rt.models.dit import DitOutput
from training.latent_data import Windows
from training.losses_two import (
    SPARSE_SHARE,
    STEADY_FOCUS,
    consistency,
    distillation,
    focus,
    generation,
    sparsity,
)

# What the released code begins with (reference.md 8.2); there it is learned.
CONSISTENCY_SHARE = 0.1


# Whose map says where an error of the flow counts more. Plain strings: checkpoints hold nothing else.
Focal = Literal["none", "prior", "head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """The paper's whole by default. Raises ConfigError where a map is asked of a head that is never taught.

    `swings`: alpha(k) instead of its mean. `feedback`: the head learns from the weight, too, as in the paper.
    """

    focal: Focal = "head"
    swings: bool = True
    feedback: bool = False
    distillation_share: float = 1.0
    sparse_share: float = SPARSE_SHARE
    consistency_share: float = CONSISTENCY_SHARE

    def __post_init__(self) -> None:
        if not self.has_head and (self.focal == "head" or self.sparse_share):
            raise ConfigError(
                "expected an occlusion head that learns from the prior where its map is used, found a "
                f"distillation_share of {self.distillation_share}; give one above 0, or focal prior and sparse_share 0"
            )

    @property
    def has_head(self) -> bool:
        """Whether there is an occlusion head, and with it attention that its map weighs."""
        return self.distillation_share > 0

    def terms(
        self, found: DitOutput, target: Tensor, windows: Windows, weight: Tensor | float, step: int
    ) -> dict[str, Tensor]:
        """Every part that is on, and `total`, their weighted sum; scalars in fp32.

        `weight`, which broadcasts over latents [B, C, L, h, w], scales errors before they are squared. Consistency is
        that of the error: the velocity's own changes hold those of the noise, which must stay.
        """
        velocity, occlusion = found
        terms = {"generation": self._generation(weight * velocity, weight * target, occlusion, windows.maps, step)}
        total = terms["generation"]
        if occlusion is not None:
            terms["distillation"] = distillation(occlusion, windows.maps)
            total = total + self.distillation_share * terms["distillation"]
        if occlusion is not None and self.sparse_share:
            terms["sparsity"] = sparsity(occlusion, windows.maps)
            total = total + self.sparse_share * terms["sparsity"]
        if self.consistency_share:
            terms["consistency"] = consistency(velocity - target)
            total = total + self.consistency_share * terms["consistency"]
        return {"total": total, **terms}

    def _generation(
        self, velocity: Tensor, target: Tensor, occlusion: Tensor | None, prior: Tensor, step: int
    ) -> Tensor:
        if self.focal == "none":
            return (velocity - target).square().mean()
        maps = prior if self.focal == "prior" or occlusion is None else occlusion
        return generation(velocity, target, maps, focus(step) if self.swings else STEADY_FOCUS, self.feedback)


WHOLE = Objective()
ABLATION = {
    "LoRA only": Objective(focal="none", swings=False, distillation_share=0.0, sparse_share=0.0, consistency_share=0.0),
    "+M1 prior + focal": Objective(
        focal="prior", swings=False, distillation_share=0.0, sparse_share=0.0, consistency_share=0.0
    ),
    "+M2 distillation": Objective(focal="prior", swings=False, sparse_share=0.0, consistency_share=0.0),
    "+M3 adaptation": Objective(sparse_share=0.0, consistency_share=0.0),
    "+M4 consistency": WHOLE,
}
