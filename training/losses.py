"""Stage I losses of CLEAR (arXiv 2603.21901): L_ortho + 0.5 L_adv + L_region + 0.1 L_recon.

The only supervision is the difference between a subtitled picture and its clean twin. The paper where it and the
released code differ (reference.md 8.1): these weights instead of learned uncertainties, the mean squared inner product
as L_ortho, an adversary. L_region is focal and Dice, in the code's proportions; its IoU says what Dice says.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

# The paper drops pictures in which fewer than 0.12 % of the pixels differ by more than 0.1; here they are negatives.
MIN_SHARE, CLEAR_DIFFERENCE = 0.0012, 0.1
# mean + std of the paper, held between codec noise and the faintest box that is worth removing.
THRESHOLD_RANGE = (0.02, 0.06)
ADVERSARY_SHARE, RECON_SHARE = 0.5, 0.1


def pseudo_label(subtitled: npt.NDArray[np.uint8], clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Whole pictures uint8 [H, W, 3] -> uint8 [H, W], 1 where their smoothed difference stands out.

    The paper's difference is the length over the channels, not smoothed, its threshold without a range: see
    `paper_label`. This is what the embedded prior was trained with.
    """
    difference = np.abs(subtitled.astype(np.float32) - clean).mean(axis=2) / 255.0
    if (difference > CLEAR_DIFFERENCE).mean() < MIN_SHARE:
        return np.zeros(difference.shape, np.uint8)
    padded = np.pad(difference, 1, mode="edge")
    rows = padded[:-2] + padded[1:-1] + padded[2:]
    smooth = (rows[:, :-2] + rows[:, 1:-1] + rows[:, 2:]) / 9.0
    threshold = np.clip(difference.mean() + difference.std(), *THRESHOLD_RANGE)
    return (smooth > threshold).astype(np.uint8)


def paper_label(subtitled: npt.NDArray[np.uint8], clean: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8] | None:
    """The paper's rule (eq. 2): whole pictures uint8 [H, W, 3] -> uint8 [H, W], 1 where Delta > mean + std of Delta.

    Delta is the length of the difference over the channels, of values in 0..1. None where fewer than 0.12 % of the
    pixels differ by more than 0.1: the paper leaves such pictures out.
    """
    difference = np.linalg.norm(subtitled.astype(np.float32) - clean, axis=2) / 255.0
    if (difference > CLEAR_DIFFERENCE).mean() < MIN_SHARE:
        return None
    return (difference > difference.mean() + difference.std()).astype(np.uint8)


def focal(logits: Tensor, label: Tensor, alpha: float = 0.75, gamma: float = 2.0) -> Tensor:
    """Mean focal loss; `alpha` weighs the positives."""
    bce = functional.binary_cross_entropy_with_logits(logits, label, reduction="none")
    missed = 1.0 - torch.exp(-bce)
    return ((alpha * label + (1 - alpha) * (1 - label)) * missed**gamma * bce).mean()


def dice(logits: Tensor, label: Tensor) -> Tensor:
    """1 - Dice over the whole batch; over single pictures the empty ones would dominate."""
    p = torch.sigmoid(logits)
    return 1.0 - (2.0 * (p * label).sum() + 1.0) / (p.sum() + label.sum() + 1.0)


def stage_one(out: dict[str, Tensor], clean: Tensor, label: Tensor) -> dict[str, Tensor]:
    """All terms and their weighted sum. clean [B, 3, H, W] in [-1, 1]; label [B, 1, H, W] float 0 or 1.

    `out` of `StageOneNetwork`; the adversary looks for the strongest label of what its map's pixels cover.
    """
    coarse = functional.adaptive_max_pool2d(label, out["adversary"].shape[-2:])
    terms = {
        "region": 2.0 * 4.0 * focal(out["logits"], label) + 1.5 * dice(out["logits"], label),
        "ortho": (out["subtitle"] * out["content"]).sum(dim=1).square().mean(),
        "adversary": functional.binary_cross_entropy_with_logits(out["adversary"], coarse),
        "recon": functional.l1_loss(out["rebuilt"], clean),
    }
    terms["total"] = (
        terms["ortho"] + ADVERSARY_SHARE * terms["adversary"] + terms["region"] + RECON_SHARE * terms["recon"]
    )
    return terms
