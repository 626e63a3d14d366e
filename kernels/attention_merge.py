"""Attention over groups of keys joined into attention over all of them, exactly.

A group has attention O_p and L_p = log(sum of exp(logits)); all have L = log(sum_p exp(L_p)) and
O = sum_p exp(L_p - L) O_p.
Plain torch: it passes a few times over what attention took far longer to make.
"""

from __future__ import annotations

import torch
from torch import Tensor

from clear_rt.kernels.contract import Contract

OP = "merge_partials"


def merge_partials(outs: Tensor, lses: Tensor) -> tuple[Tensor, Tensor]:
    """outs [P, B, N, H, D] and lses fp32 [P, B, H, N] of P groups -> attention [B, N, H, D] and its lse [B, H, N].

    Sums are in fp32 and rounded once, to the dtype of `outs`. A group of -inf counts nothing, whatever its attention;
    where all are -inf the result is 0 and -inf.

    Raises ValueError for other shapes or dtypes, or no group.
    """
    contract = Contract(OP)
    contract.tensor("outs", outs, "P B N H D", dense_axes=0)
    contract.tensor("lses", lses, "P B H N", (torch.float32,), dense_axes=0)
    if not contract.sizes["P"]:
        raise ValueError(f"{OP}: expected at least one group of keys, got none")
    lse = lses.logsumexp(0)
    weights = (lses - lse.where(lse > -torch.inf, 0)).exp().transpose(2, 3)[..., None]
    acc = torch.zeros(outs.shape[1:], dtype=torch.float32, device=outs.device)
    for out, weight in zip(outs, weights, strict=True):
        acc += torch.where(weight == 0, 0, weight * out)
    return acc.to(outs.dtype), lse
