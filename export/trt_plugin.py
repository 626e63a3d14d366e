"""Attention with a bias per key under TensorRT: `clear_rt::OcclusionAttention`, a plugin whose body is our kernel.

Quickly deployable and ahead of time: while an engine is built, Python describes shapes and hands over PTX; the engine
then runs without Python. **Nobody has run it under TensorRT**, which can be installed neither for development nor on
our GPU machine. Tests drive NVIDIA's own Python half of such plugins, 11.4; the PTX is launched without TensorRT. Open:
whether TensorRT lets a plugin have more than 48 KB of shared memory, of which its documentation says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib import import_module
from types import GenericAlias
from typing import Any

import torch
from torch import Tensor

from clear_rt.errors import EngineError
from clear_rt.export.plugin_ptx import plugin_kernel

NAMESPACE, NAME = "clear_rt", "OcclusionAttention"
# Of TensorRT's classes, which only TensorRT has.
Desc = Any

_DTYPES = {"HALF": "fp16", "BF16": "bf16"}
_AXES = ("BNHD", "BMHD", "BMHD", "BHM")
_WANTED = f"expected {NAME} of q [B, N, H, D], k and v [B, M, H, D] in HALF or BF16 and a FLOAT bias [B, H, M]"


def plugin_attention(q: Tensor, k: Tensor, v: Tensor, key_bias: Tensor) -> Tensor:
    """As `clear_rt.models.attention.attention`, for blocks with a bias, as the plugin's node; exported, never run.

    TensorRT's parser finds a plugin by the type of the node, `plugin_namespace` and `plugin_version`; `aot` asks for
    the implementation ahead of time and no other.
    """
    return torch.onnx.ops.symbolic(
        f"{NAMESPACE}::{NAME}",
        [q, k, v, key_bias.float()],
        {"plugin_namespace": NAMESPACE, "plugin_version": "1", "aot": 1},
        dtype=q.dtype,
        shape=q.shape,
        version=1,
    )


@cache
def register_plugin(capability: int) -> None:
    """Makes the plugin known to TensorRT in this process, before a graph is parsed; `capability` of the GPU, as 90.

    Raises EngineError where TensorRT is missing or has no such plugins, and where another chip was registered: TensorRT
    forgets no plugin.
    """
    trtp = _plugin_api()
    plugin = f"{NAMESPACE}::{NAME}"
    if hasattr(getattr(trtp.op, NAMESPACE, None), NAME):
        raise EngineError(f"expected TensorRT without {plugin}, found it registered; build in a new process")

    def described(q: Desc, k: Desc, v: Desc, key_bias: Desc) -> Desc:
        return q.like()

    def implemented(q: Desc, k: Desc, v: Desc, key_bias: Desc, outputs: Any, tactic: int) -> Any:  # noqa: ANN401
        dtype, head_width = dtype_and_width([(x.dtype.name, [*x.shape]) for x in (q, k, v, key_bias)])
        kernel = plugin_kernel(capability, dtype, head_width)
        grid, sizes = kernel.launched(q.shape_expr, k.shape_expr, trtp.cdiv)
        axes = dict(zip(("grid_x", "grid_y", "grid_z"), grid, strict=True))
        launch = trtp.KernelLaunchParams(**axes, block_x=kernel.threads, shared_mem=kernel.resources.shared_bytes)
        scalars = trtp.SymIntExprs(len(sizes))
        for place, size in enumerate(sizes):
            scalars[place] = trtp.SymInt32(size)
        return kernel.name, kernel.ptx, launch, scalars

    # TensorRT reads a plugin's schema from annotations; they have to be its own classes, not their names.
    inputs = dict.fromkeys(("q", "k", "v", "key_bias"), trtp.TensorDesc)
    outputs = GenericAlias(tuple, (trtp.TensorDesc,))
    result = GenericAlias(tuple, (str, str, trtp.KernelLaunchParams, trtp.SymIntExprs))
    described.__annotations__ = {**inputs, "return": trtp.TensorDesc}
    implemented.__annotations__ = {**inputs, "outputs": outputs, "tactic": int, "return": result}
    trtp.register(plugin)(described)
    trtp.aot_impl(plugin)(implemented)


def dtype_and_width(tensors: Sequence[tuple[str, Sequence[int]]]) -> tuple[str, int]:
    """The kernel's dtype and head width for q, k, v and the bias, each by TensorRT's type and shape, -1 where open.

    Raises EngineError where they are not what `kernels/occlusion_attention_plugin` takes.
    """
    found = ", ".join(f"{dtype} {[*shape]}" for dtype, shape in tensors)
    dtypes = [dtype for dtype, _ in tensors]
    sizes: dict[str, int] = {}
    for axes, (_, shape) in zip(_AXES, tensors, strict=True):
        known = [(axis, size) for axis, size in zip(axes, shape, strict=False) if size >= 0]
        if len(axes) != len(shape) or any(sizes.setdefault(axis, size) != size for axis, size in known):
            raise EngineError(f"{_WANTED}, found {found}; export the graph again")
    if dtypes[0] not in _DTYPES or dtypes != [*[dtypes[0]] * 3, "FLOAT"] or "D" not in sizes:
        raise EngineError(f"{_WANTED}, found {found}; export the graph in bf16 or fp16")
    return _DTYPES[dtypes[0]], sizes["D"]


def _plugin_api() -> Any:  # noqa: ANN401 - the module tensorrt.plugin
    try:
        api = import_module("tensorrt.plugin")
    except ImportError as error:
        raise EngineError(
            "expected TensorRT for an engine with the attention plugin, found none; "
            "install clear-rt[tensorrt], or choose --engine cuda or onnx"
        ) from error
    if not hasattr(api, "KernelLaunchParams"):
        raise EngineError("expected TensorRT with plugins ahead of time, found an older one; install 10.13 or newer")
    return api
