"""Networks in half precision: everything but what would lose by it."""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import nn

from clear_rt.models.baked import BakedDit

_Module = TypeVar("_Module", bound=nn.Module)

# ln(474), the logit of a prompt's padding, would be off by 0.4 % in bfloat16 and the padding's weight by 2.5 %; betas
# are multiplied with probabilities to such logits. Scales of FP8 are what the quantised values were divided by.
_KEPT = ("cross_attn.bias", "beta", "scale")


@torch.no_grad()
def narrowed(module: _Module, dtype: torch.dtype) -> _Module:
    """The same module with its float32 parameters in `dtype`, one after the other, so that memory does not double."""
    for name, parameter in (*module.named_parameters(), *module.named_buffers()):
        if parameter.dtype == torch.float32 and not name.endswith(_KEPT):
            parameter.data = parameter.data.to(dtype)
    if isinstance(module, BakedDit):
        module.place_turns(module.time)
    return module
