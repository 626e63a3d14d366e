"""Compiles every kernel with every committed tile for every chip, without a GPU, and reports what they use.

    python -m clear_rt.kernels.aot             # compile, compare with kernels/resources.json; --chips 80,90 for some
    python -m clear_rt.kernels.aot --write     # compile, replace that file
    python -m clear_rt.kernels.aot --cubins DIR --chips 80,90

Registers, spills and shared memory are as ptxas has them. A kernel that spills where it must not, or that asks for more
shared memory than a block of the chip has, ends the command with status 1: Triton itself refuses neither.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from clear_rt.kernels.chips import CAPABILITIES, SHARED_BYTES
from clear_rt.kernels.variant import Variant

MODULES = (
    "norm_modulate",
    "gate_residual",
    "rms_norm",
    "gelu",
    "norm_silu",
    "causal_conv",
    "window_step",
    "hold_overlap",
    "qk_norm_rope",
    "qk_norm_rope_fp8",
    "yuv_to_input",
    "pull_push_level",
    "composite",
    "occlusion_attention",
    "occlusion_attention_hopper",
    "occlusion_attention_plugin",
    "quantize_values",
    "occlusion_attention_fp8",
)
TABLE = Path(__file__).with_name("resources.json")
# ptxas and cuobjdump, as Triton ships them.
NVIDIA_TOOLS = Path(triton.__file__).parent / "backends/nvidia/bin"


@dataclass(frozen=True, slots=True)
class Resources:
    """What a compiled kernel uses: registers of a thread, bytes of its stack (spills), shared memory of a block."""

    registers: int
    stack_bytes: int
    shared_bytes: int


@dataclass(frozen=True, slots=True)
class Compiled:
    variant: str
    capability: int
    resources: Resources
    cubin: bytes
    launch: dict[str, Any]


@cache
def variants(capability: int) -> dict[str, Variant]:
    """Every compilation for a chip by name. Raises ValueError where two share one."""
    found: dict[str, Variant] = {}
    for name in MODULES:
        for variant in import_module(f"clear_rt.kernels.{name}").variants(capability):
            if variant.name in found:
                raise ValueError(f"two kernel variants are called {variant.name}")
            found[variant.name] = variant
    return found


def compiled(capability: int, name: str) -> Compiled:
    """A variant for a chip, whether or not a GPU is there."""
    variant = variants(capability)[name]
    kernel = built(variant, capability)
    cubin, metadata = kernel.asm["cubin"], kernel.metadata
    launch = {
        "name": metadata.name,
        "threads": 32 * metadata.num_warps,
        "shared_bytes": metadata.shared,
        "arguments": " ".join(variant.arguments.values()),
        "names": " ".join(variant.arguments),
        # Triton appends pointers that its own launcher passes: memory for scratch, and for its profiler. Null where 0.
        "trailing_pointers": kernel.asm["ptx"].count(".param ") - len(variant.arguments),
        "scratch_bytes_per_program": metadata.global_scratch_size,
        "scratch_align_bytes": metadata.global_scratch_align,
        # Multiples of 16 that the code relies on; a launch that breaks the promise faults.
        "aligned": " ".join(_aligned(variant)),
        "constants": {name: value for name, value in variant.constants.items() if value is not None},
    }
    return Compiled(name, capability, resources(cubin, metadata.shared), cubin, launch)


def built(variant: Variant, capability: int, **options: object) -> Any:  # noqa: ANN401 - Triton's CompiledKernel
    """What Triton makes of a variant: `asm` and `metadata`; `options` are the compiler's beside those of the tile."""
    order = [parameter.name for parameter in variant.kernel.params]
    signature = {n: variant.arguments.get(n, "constexpr") for n in order}
    attrs = {(order.index(n),): [["tt.divisibility", 16]] for n in _aligned(variant)}
    constants = {(order.index(n),): value for n, value in variant.constants.items()}
    source = ASTSource(variant.kernel, signature, constants, attrs)
    # Always said, as Triton 3.10 changes the default.
    options |= {
        "num_warps": variant.tile.warps,
        "num_stages": variant.tile.stages,
        "enable_fp_fusion": variant.fp_fusion,
    }
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def _aligned(variant: Variant) -> list[str]:
    pointers = [n for n, kind in variant.arguments.items() if kind.startswith("*") and n not in variant.unaligned]
    return [*pointers, *variant.aligned]


def resources(cubin: bytes, shared_bytes: int) -> Resources:
    """What ptxas says of a kernel's registers and stack, and the shared memory that it is launched with."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        said = subprocess.run(
            [NVIDIA_TOOLS / "cuobjdump", "--dump-resource-usage", file.name], check=True, capture_output=True, text=True
        ).stdout
    registers, stack = re.findall(r"REG:(\d+) STACK:(\d+)", said)[-1]
    return Resources(int(registers), int(stack), shared_bytes)


def faults(found: Sequence[Compiled]) -> list[str]:
    """What no chip would forgive: spills, and more shared memory than there is."""
    said = []
    for one in found:
        used, most = one.resources, SHARED_BYTES[one.capability]
        if used.shared_bytes > most:
            said.append(f"{one.variant} on sm_{one.capability}: {used.shared_bytes} bytes of shared memory of {most}")
        if used.stack_bytes:
            said.append(f"{one.variant} on sm_{one.capability}: {used.stack_bytes} bytes of registers spilled")
    return said


def table(found: Sequence[Compiled]) -> dict[str, object]:
    """What `resources.json` holds: the Triton that compiled, and per variant and chip what it uses."""
    rows: dict[str, dict[str, dict[str, int]]] = {}
    for one in found:
        rows.setdefault(one.variant, {})[f"sm_{one.capability}"] = asdict(one.resources)
    return {"triton": triton.__version__, "variants": dict(sorted(rows.items()))}


def everything(
    chips: Sequence[int], workers: int | None = None, wanted: Callable[[str], bool] = lambda name: True
) -> list[Compiled]:
    """All variants whose names are `wanted`, for all of `chips`, in order."""
    work = [(chip, name) for chip in chips for name in variants(chip) if wanted(name)]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(compiled, *zip(*work, strict=True)))


def differences(now: dict[str, object], chips: Sequence[int]) -> Iterator[str]:
    """Where a table of `chips` differs from the committed one; nothing where that was made by another Triton."""
    before = json.loads(TABLE.read_text())
    if before["triton"] != triton.__version__:
        print(f"{TABLE.name} was made by Triton {before['triton']}, this is {triton.__version__}: not compared")
        return
    new, columns = now["variants"], [f"sm_{chip}" for chip in chips]
    assert isinstance(new, dict)
    rows = {name: {chip: row[chip] for chip in columns if chip in row} for name, row in before["variants"].items()}
    old = {name: row for name, row in rows.items() if row}
    for name in sorted(old.keys() | new.keys()):
        if old.get(name) != new.get(name):
            yield f"{name}: {old.get(name)} before, {new.get(name)} now"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--chips", default=",".join(map(str, CAPABILITIES)), help="compute capabilities, as 80,90")
    parser.add_argument("--write", action="store_true", help="replace resources.json")
    parser.add_argument("--cubins", type=Path, help="folder for the compiled kernels and their launch metadata")
    options = parser.parse_args()
    chips = [int(chip) for chip in options.chips.split(",")]
    found = everything(chips)
    now = table(found)
    if options.cubins:
        write_cubins(options.cubins, found)
    if options.write:
        TABLE.write_text(json.dumps(now, indent=1) + "\n")
    said = faults(found)
    if not options.write:
        said += differences(now, chips)
    print("\n".join(said) or f"{len(found)} kernels compiled for sm_{', sm_'.join(map(str, chips))}")
    return bool(said)


def write_cubins(folder: Path, found: Sequence[Compiled]) -> None:
    """Every cubin, as NAME.sm_90.cubin, with how it is launched beside it, as NAME.sm_90.json."""
    folder.mkdir(parents=True, exist_ok=True)
    for one in found:
        path = folder / f"{one.variant}.sm_{one.capability}"
        path.with_suffix(path.suffix + ".cubin").write_bytes(one.cubin)
        path.with_suffix(path.suffix + ".json").write_text(json.dumps(one.launch, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
