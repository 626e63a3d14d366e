"""Muon: momentum whose matrices are made orthogonal, so that a step changes no direction of a layer more than another.

Adam moves every weight by about the same amount. In a convolution over 27 positions of 64 channels that all see the
same brightness those moves add up: at a learning rate of 1e-4 the VAE's brightness swings by a sixth per step. Here a
step of rate r changes what a layer makes of an input of unit size by r at most, whatever the layer's width.

Method: Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024), with the scale of Bernstein's
"Deriving Muon". torch.optim.Muon computes in bfloat16, which CPUs without avx512_bf16 emulate 400 times slower, and
takes no convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

# Coefficients of an odd polynomial that drives singular values of 0..1 towards 0.7..1.2 in five applications.
_QUINTIC = (3.4445, -4.7750, 2.0315)
_APPLICATIONS = 5


def orthogonal(matrix: Tensor) -> Tensor:
    """The nearest matrix to [M, N] whose singular values are all about 1."""
    a, b, c = _QUINTIC
    x = matrix.mT if matrix.shape[0] > matrix.shape[1] else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(_APPLICATIONS):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if matrix.shape[0] > matrix.shape[1] else x


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more axes, [out, ...], at the rate `lr`; Adam for vectors at `vector_share` of it.

    Parameters that need no gradient are left alone.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        *,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.98),
        vector_share: float = 0.1,
    ) -> None:
        every = [p for p in parameters if p.requires_grad]
        wide = [p for p in every if p.ndim > 1 and min(p.shape[0], p[0].numel()) > 1]
        narrow = [p for p in every if not any(p is w for w in wide)]
        groups = [
            {"params": wide, "matrix": True, "share": 1.0},
            {"params": narrow, "matrix": False, "share": vector_share},
        ]
        super().__init__(groups, {"lr": lr, "momentum": momentum, "betas": betas})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            rate = group["lr"] * group["share"]
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                change = self._matrix(parameter, group) if group["matrix"] else self._vector(parameter, group)
                parameter.sub_(change, alpha=rate)

    def _matrix(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["mean"] = torch.zeros_like(parameter)
        mean, gradient = state["mean"], parameter.grad
        mean.lerp_(gradient, 1 - group["momentum"])
        ahead = gradient.lerp(mean, group["momentum"]).flatten(1)
        rows, columns = ahead.shape
        return (orthogonal(ahead) * (rows / columns) ** 0.5).view_as(parameter)

    def _vector(self, parameter: nn.Parameter, group: dict[str, Any]) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["step"], state["mean"] = 0, torch.zeros_like(parameter)
            state["square"] = torch.zeros_like(parameter)
        state["step"] += 1
        first, second = group["betas"]
        state["mean"].lerp_(parameter.grad, 1 - first)
        state["square"].lerp_(parameter.grad.square(), 1 - second)
        scale = (state["square"] / (1 - second ** state["step"])).sqrt_().add_(1e-8)
        return state["mean"] / (1 - first ** state["step"]) / scale
