"""`kernels/occlusion_attention_plugin` as PTX that TensorRT launches: nothing in it that a plugin cannot pass.

Triton appends two pointers to every kernel, memory for scratch and for its profiler, which its own launcher passes. A
plugin has no place for them (anchors.md 7): they are proven unused and left out. Lines of sources go, too: with the
paths that they hold, PTX and its hash would differ from checkout to checkout.
"""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.kernels import aot, occlusion_attention_plugin
from clear_rt.kernels.attention_blocks import HEAD_WIDTHS
from clear_rt.kernels.chips import CAPABILITIES, INTERPRETED, SHARED_BYTES

# 8.7 came with CUDA 12.8 and knows every chip up to sm_120. Triton 3.8 would say 9.3 there; driver 580 reads up to 9.0.
PTX_VERSION = 87

_ENTRY = re.compile(r"\.entry\s+(?P<name>[\w$]+)\s*\((?P<parameters>[^)]*)\)")
_NAME = re.compile(r"([\w$]+)\s*(?:\[\d*\])?$")
_SOURCE_LINE = re.compile(r"^\s*\.loc\b.*\n", re.MULTILINE)
# LLVM writes what belongs to a debugger behind the code.
_DEBUG_PART = re.compile(r"^\s*\.(?:file|section)\b.*", re.MULTILINE | re.DOTALL)


def _rounded_up(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)


@dataclass(frozen=True, slots=True)
class PluginKernel:
    """One kernel and how it is launched: `threads` in a block, its dynamic shared memory and registers in `resources`.

    `block_queries` are those of one block of the grid.
    """

    name: str
    ptx: str
    threads: int
    block_queries: int
    resources: aot.Resources

    @property
    def sha256(self) -> str:
        """Of the PTX, for our own cache key: TensorRT's timing cache knows a plugin by nothing but its name."""
        return hashlib.sha256(self.ptx.encode()).hexdigest()

    def launched(
        self, q_shape: Sequence[Any], k_shape: Sequence[Any], cdiv: Callable[[Any, int], Any] = _rounded_up
    ) -> tuple[tuple[Any, Any, Any], tuple[Any, Any]]:
        """The grid and the int32 between inputs and output, for q [B, N, H, D] and k [B, M, H, D], symbolic or not.

        (N / block_queries rounded up by `cdiv`, H, B) and (N, M).
        """
        batches, queries, heads, _ = q_shape
        return (cdiv(queries, self.block_queries), heads, batches), (queries, k_shape[1])


@cache
def plugin_kernel(capability: int, dtype: str, head_width: int) -> PluginKernel:
    """The kernel for a chip, 90 for an H100; `dtype` is fp16 or bf16, `head_width` 64 or 128.

    Raises EngineError where it does not exist, asks for more shared memory than a block of the chip has, or uses a
    pointer that a plugin does not pass.
    """
    _check(capability, dtype, head_width)
    variant = occlusion_attention_plugin.variant(capability, dtype, head_width)
    kernel = aot.built(variant, capability, ptx_version=PTX_VERSION)
    ptx = stripped(kernel.asm["ptx"], len(variant.arguments))
    resources = aot.resources(assembled(ptx, capability), kernel.metadata.shared)
    if resources.shared_bytes > SHARED_BYTES[capability]:
        raise EngineError(
            f"{variant.name}: expected at most {SHARED_BYTES[capability]} bytes of shared memory on sm_{capability}, "
            f"found {resources.shared_bytes}; take smaller blocks in kernels/tiles.json"
        )
    return PluginKernel(
        name=kernel.metadata.name,
        ptx=ptx,
        threads=32 * kernel.metadata.num_warps,
        block_queries=variant.tile.blocks["BLOCK_QUERIES"],
        resources=resources,
    )


def stripped(ptx: str, arguments: int) -> str:
    """PTX whose kernel takes its first `arguments` parameters alone, without lines of sources.

    Raises EngineError where its code mentions one of the others, where it has fewer, or where it is not one kernel.
    """
    entries = list(_ENTRY.finditer(ptx))
    if len(entries) != 1:
        raise EngineError(
            f"expected PTX of one kernel, found {len(entries)}; compile it by the Triton of clear-rt[cuda]"
        )
    entry = entries[0]
    parameters = [parameter.strip() for parameter in entry["parameters"].split(",")]
    if len(parameters) < arguments:
        raise EngineError(
            f"{entry['name']}: expected {arguments} parameters, found {len(parameters)}; "
            "compile it by the Triton of clear-rt[cuda]"
        )
    code = _DEBUG_PART.sub("", _SOURCE_LINE.sub("", ptx[entry.end() :]))
    used = [name for name in map(_parameter_name, parameters[arguments:]) if _mentions(code, name)]
    if used:
        raise EngineError(
            f"{entry['name']}: expected code that needs the {arguments} arguments of a plugin alone, found {used[0]} "
            "in use; leave out of the kernel what takes scratch memory, such as tensor descriptors"
        )
    kept = ",\n\t".join(parameters[:arguments])
    return f"{ptx[: entry.start('parameters')]}\n\t{kept}\n){code}"


def assembled(ptx: str, capability: int) -> bytes:
    """The cubin that ptxas makes of it for the target that the PTX names. Raises EngineError with its words."""
    # As Triton chooses: the other ptxas is of a CUDA that does not know them well.
    ptxas = aot.NVIDIA_TOOLS / ("ptxas-blackwell" if capability >= 100 else "ptxas")
    target = re.search(r"^\.target\s+(\w+)", ptx, re.MULTILINE)
    with tempfile.TemporaryDirectory() as folder:
        source, cubin = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        chip = target[1] if target else f"sm_{capability}"
        done = subprocess.run([ptxas, f"--gpu-name={chip}", source, "-o", cubin], capture_output=True, text=True)
        if done.returncode:
            said = " ".join(done.stderr.split())[:200]
            raise EngineError(f"expected PTX that assembles for sm_{capability}, ptxas said: {said}")
        return cubin.read_bytes()


def _parameter_name(parameter: str) -> str:
    """Of a declaration such as ".param .u64 .ptr .global .align 16 kernel_param_7"; arrays have their size behind."""
    found = _NAME.search(parameter)
    if found is None:
        raise EngineError(
            f"expected a parameter of PTX, found {parameter!r}; compile it by the Triton of clear-rt[cuda]"
        )
    return found[1]


def _mentions(code: str, name: str) -> bool:
    """Loads of it and its address alike: any word that is the name."""
    return re.search(rf"(?<![\w$]){re.escape(name)}(?![\w$])", code) is not None


def _check(capability: int, dtype: str, head_width: int) -> None:
    if INTERPRETED:
        raise EngineError("expected Triton's compiler, found its interpreter; unset TRITON_INTERPRET")
    if capability not in CAPABILITIES:
        known = ", ".join(map(str, CAPABILITIES))
        raise EngineError(f"expected a chip of {known}, found sm_{capability}; attention as a plugin is made for those")
    if dtype not in occlusion_attention_plugin.HALVES or head_width not in HEAD_WIDTHS:
        raise EngineError(
            f"expected attention in fp16 or bf16 over heads of 64 or 128 channels, found {dtype} and {head_width}; "
            "build with --precision bf16"
        )
