"""A prior that goes on learning from where a bundle's ended, though batch norms are folded there.

A folded convolution w * x + b is one with a norm whose scale is the deviation of w * x and whose shift is b plus its
mean, both measured on pictures: in evaluation exactly the same, in training as near as a batch's statistics are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from clear_rt.errors import BundleError
from clear_rt.models.prior import ConvNorm, PriorNet

_ANOTHER = "the bundle's prior is of another network; give the path of one that this version trained"


@torch.no_grad()
def begin_at(net: PriorNet, graph: bytes, pictures: Tensor) -> None:
    """Set `net` to what an exported graph computes; `pictures` [B, 3, H, W] in [-1, 1] are what norms are measured on.

    Raises BundleError where the graph is of another network.
    """
    norms = {name: module for name, module in net.named_modules() if isinstance(module, ConvNorm)}
    stored = _stored(graph)
    state = net.state_dict()
    for name in norms:
        _as_identity(state, f"{name}.1", stored.pop(f"{name}.0.bias", None))
    if any(name not in state or state[name].shape != tensor.shape for name, tensor in stored.items()):
        raise BundleError(_ANOTHER)
    missing = {name for name in state if name.split(".")[-1] in ("weight", "bias")} - stored.keys()
    if any(not name.startswith(tuple(f"{norm}.1." for norm in norms)) for name in missing):
        raise BundleError("the bundle's prior lacks weights; give the path of one that this version trained")
    net.load_state_dict(state | stored)
    _measured(net, norms, pictures)


def _stored(graph: bytes) -> dict[str, Tensor]:
    """Weights and biases by their names in the network."""
    found = {}
    for initializer in onnx.load_from_string(graph).graph.initializer:
        name = initializer.name.removeprefix("net.")
        if name != initializer.name:
            found[name] = torch.from_numpy(np.array(numpy_helper.to_array(initializer), np.float32))
    return found


def _as_identity(state: dict[str, Any], norm: str, shift: Tensor | None) -> None:
    """A norm that adds `shift` and does nothing else."""
    if shift is None or state[f"{norm}.bias"].shape != shift.shape:
        raise BundleError(_ANOTHER)
    state[f"{norm}.weight"] = torch.ones_like(shift)
    state[f"{norm}.bias"] = shift
    state[f"{norm}.running_mean"] = torch.zeros_like(shift)
    state[f"{norm}.running_var"] = torch.full_like(shift, 1 - nn.BatchNorm2d(1).eps)


def _measured(net: PriorNet, norms: dict[str, ConvNorm], pictures: Tensor) -> None:
    """Gives every norm the statistics of its input, and lets it compute what it did."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def look(name: str) -> Any:  # noqa: ANN401 - a hook of torch's
        def hook(_module: nn.Module, inputs: tuple[Tensor, ...], _output: Tensor) -> None:
            variance, mean = torch.var_mean(inputs[0].double(), dim=(0, 2, 3), correction=0)
            seen[name] = mean.float(), variance.float()

        return hook

    hooks = [module[1].register_forward_hook(look(name)) for name, module in norms.items()]
    was_training = net.training
    net.eval()
    net(pictures)
    net.train(was_training)
    for hook in hooks:
        hook.remove()
    for name, module in norms.items():
        norm = module[1]
        assert isinstance(norm, nn.BatchNorm2d)
        mean, variance = seen[name]
        assert norm.running_mean is not None
        assert norm.running_var is not None
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + norm.eps).sqrt())
        norm.bias.add_(mean)
