"""Fills the unknown cells of a field smoothly from the known ones: by pull-push, then by corrections as in multigrid.

Pulling makes every level of a pyramid from the one below it, its cells the means of those of their four that are known.
Pushing goes back down: unknown cells are interpolated bilinearly from the level above, then relaxed, red before black,
which makes each the mean of its four neighbours. All values stay between the smallest and the largest known one.
A correction treats what these means still miss in the same way, pulled by sums, and may leave that range by as much as
the result errs.

From `clear_rt.membrane.fill` the result differs, rms under the captions of samples/ grown by 2 to 8 pixels, in levels
of 255: for a fill that is off slowly, by 8 +- 6 levels, 0.5 to 1.1, after 1 correction 0.3 to 0.6, after 2 0.2 to 0.3;
for none, on the street's own texture, 6.4 to 7.3, 2.6 to 4.0, 1.3 to 2.5. Against the clean street that costs at most
0.25, 0.16 and 0.11 dB. Relaxing 8 times instead of correcting leaves 0.4 to 0.8, and 2.8 to 3.5.

Every launch is one step on one level: no program waits for another, and the launches depend on the field's size alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from clear_rt.kernels import pull_push_level as level
from clear_rt.kernels.contract import Contract
from clear_rt.kernels.pull_push_level import COARSEST_CELLS, OP

CORRECTIONS = 2


class _Steps(NamedTuple):
    """Those of `pull_push_level`, the kernels or what they are compared with."""

    pull: Callable[..., Tensor]
    pull_missing: Callable[..., Tensor]
    settle: Callable[..., Tensor]
    push: Callable[..., Tensor]


_KERNELS = _Steps(level.pull, level.pull_missing, level.settle, level.push)
_REFERENCES = _Steps(level.pull_ref, level.pull_missing_ref, level.settle_ref, level.push_ref)


def pull_push_ref(field: Tensor, corrections: int = CORRECTIONS) -> Tensor:
    """The same by the formulas of the steps, in the dtype of `field`."""
    return _filled(field, corrections, _REFERENCES)


def _filled(field: Tensor, corrections: int, steps: _Steps) -> Tensor:
    known = [field]
    while len(known) == 1 or known[-1][0].numel() > COARSEST_CELLS:
        known.append(steps.pull(known[-1]))
    values = steps.settle(known[-1], None)
    for cells in known[-2::-1]:
        values = steps.push(values, cells)
    for _ in range(corrections):
        missing = [steps.pull_missing(values, of_values=True)]
        for _ in known[2:]:
            missing.append(steps.pull_missing(missing[-1], of_values=False))
        error = steps.settle(known[-1], missing[-1])
        for cells, lacking in zip(known[-2:0:-1], missing[-2::-1], strict=True):
            error = steps.push(error, cells, lacking)
        values = steps.push(error, field, values=values)
    return values


@torch.library.custom_op("clear_rt::pull_push", mutates_args=())
def pull_push(field: Tensor, corrections: int = CORRECTIONS) -> Tensor:
    """field fp32 [C, H, W], NaN where it is unknown -> the same, filled; 0 in channels that have nothing known.

    Raises ValueError for other shapes or dtypes, or gaps in memory, EngineError where there is no GPU.
    """
    if not field.numel():
        return torch.empty_like(field)
    Contract(OP).tensor("field", field, "C H W", (torch.float32,), dense_axes=3)
    return _filled(field, corrections, _KERNELS)


@pull_push.register_fake
def _pull_push_fake(field: Tensor, corrections: int = CORRECTIONS) -> Tensor:
    return torch.empty_like(field)
