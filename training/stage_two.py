"""Stage II of the paper on a base: LoRA, occlusion head and learned beta, taught by the prior's maps.

L_distill + L_gen + 0.1 L_sparse, and consistency over time (`training.losses_two`). The base stays as it is; what is
learned leaves as `adapter.safetensors` in the names of CLEAR's checkpoint, which `clear-rt export --lora` merges.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor

from clear_rt.models.checkpoint import open_checkpoint
from clear_rt.models.dit import Dit, DitOutput
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.dit_names import OCCLUSION_BETA, is_occlusion
from clear_rt.models.weights import dit_state
from training.flow import FlowTrainer, Noised, relative_weight
from training.latent_data import Windows
from training.losses_two import SPARSE_SHARE, consistency, distillation, generation, sparsity
from training.resumable import StageConfig

# What the released code begins with (reference.md 8.2); there it is learned.
CONSISTENCY_SHARE = 0.1
# The linears of CLEAR's adapter: in every block those of both attentions, and both of the feed-forward network.
TARGETS = r"blocks\.\d+\.((self_attn|cross_attn)\.(q|k|v|o)|ffn\.(0|2))"


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTwoTraining(StageConfig):
    """Sizes that suit two cores; the paper's rank is 64 for a width of 1536. `batch` as of `BaseTraining`."""

    rank: int = 16
    steps: int = 300
    stages: int = 1
    batch: int = 12
    peak_lr: float = 2e-3
    average_decay: float = 0.995
    checkpoint_every: int = 100


class StageTwoTrainer(FlowTrainer):
    """A transformer of which adapter, occlusion head and beta learn. Raises ConfigError as `Resumable.resume`."""

    # The head's last layer is one row, for the optimiser a vector, and begins at 0.
    vector_share = 1.0

    def __init__(self, run: Path, config: StageTwoTraining, base: Path, sizes: DitConfig) -> None:
        torch.manual_seed(config.seed)
        super().__init__(run, config, with_adapter(base, sizes, config.rank))

    def advance(self, windows: Windows) -> dict[str, float]:
        """As `FlowTrainer.advance`; a beta that went below 0 counts as 0 and has no gradient, so it is put back there.

        The head begins with one value for all keys, which softmax does not see: the first steps are rounding noise.
        """
        figures = super().advance(windows)
        with torch.no_grad():
            for name, parameter in self.model.named_parameters():
                if name.endswith(OCCLUSION_BETA):
                    parameter.clamp_(min=0)
        return figures

    def terms(self, found: DitOutput, given: Noised, windows: Windows) -> dict[str, Tensor]:
        """Consistency is that of the error: the velocity's own changes hold those of the noise, which must stay.

        Errors are relative to the draft's (`relative_weight`), so that of a piece counts with that weight to the 1.8.
        """
        velocity, occlusion = found
        assert occlusion is not None
        weight = relative_weight(windows).sqrt()
        terms = {
            "generation": generation(weight * velocity, weight * given.target, occlusion, self.step),
            "distillation": distillation(occlusion, windows.maps),
            "sparsity": sparsity(occlusion, windows.maps),
            "consistency": consistency(velocity - given.target),
        }
        total = terms["generation"] + terms["distillation"] + SPARSE_SHARE * terms["sparsity"]
        return {"total": total + CONSISTENCY_SHARE * terms["consistency"], **terms}

    def learned(self) -> tuple[str, dict[str, Tensor]]:
        state = self.average.module.state_dict()
        return "adapter.safetensors", {n: t for n, t in state.items() if ".lora_" in n or is_occlusion(n)}


def with_adapter(base: Path, sizes: DitConfig, rank: int) -> Dit:
    """A base's weights under an adapter that changes nothing yet, and an untrained occlusion head; these alone learn.

    `sizes` with `occlusion`. Raises WeightsError where the file is no base of these sizes.
    """
    dit = Dit(sizes)
    untrained = {name: tensor.clone() for name, tensor in dit.state_dict().items() if is_occlusion(name)}
    dit.load_state_dict(dict(dit_state(open_checkpoint(base), sizes)) | untrained)
    dit.requires_grad_(False)
    # Alpha equal to the rank: the update is B @ A itself, as the export merges it.
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=rank, target_modules=TARGETS), dit)
    for name, parameter in dit.named_parameters():
        if is_occlusion(name):
            parameter.requires_grad_(True)
    return dit
