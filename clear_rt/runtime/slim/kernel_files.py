"""Compiled kernels in a bundle: cubins by chip and variant, each under a hash, and one file that says how to launch.

    NAME.sm_90.cubin ...    launches.json

All lie in the bundle's folder; a cubin's launch has its key, NAME.sm_90.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clear_rt.errors import BundleError, EngineError
from clear_rt.manifest import AGAIN, Entry, Files
from clear_rt.runtime.slim.elf import read_cubin
from clear_rt.runtime.slim.launch import Launch, layout, read_launch

LAUNCHES = "launches.json"
_KEY = re.compile(r"([\w-]+)\.sm_(\d{2,3})")
# Code for these and newer is for one chip alone: Triton compiles it with what that chip has and no other.
_FIRST_OF_ITS_OWN = 90


@dataclass(frozen=True, slots=True)
class Cubin:
    """A variant of a kernel for one chip: the very bytes that were hashed, and how they are launched."""

    launch: Launch
    code: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class KernelsSpec:
    """Cubins by capability, such as 90, and by variant, such as window_step-bf16."""

    cubins: Mapping[int, Mapping[str, Cubin]]

    def for_gpu(self, capability: int) -> Mapping[str, Cubin]:
        """Those that a GPU runs: made for it, or below 9.0 for an older one of the same generation.

        Raises EngineError where there are none.
        """
        found = chosen(self.cubins, capability)
        if found is None:
            there = ", ".join(f"sm_{one}" for one in sorted(self.cubins)) or "none"
            raise EngineError(
                f"expected kernels for this GPU, sm_{capability}, found those for {there}; "
                f"build the bundle with --target sm_{capability}"
            )
        return self.cubins[found]


def chosen(capabilities: Iterable[int], capability: int) -> int | None:
    """Whose code a GPU runs, None if nobody's."""
    fitting = [
        one
        for one in capabilities
        if one == capability or (one < _FIRST_OF_ITS_OWN and one // 10 == capability // 10 and one < capability)
    ]
    return max(fitting, default=None)


def read_kernels(entry: Entry, files: Files) -> KernelsSpec:
    """The kernels that a manifest names, their files verified.

    Raises BundleError where a field is missing or out of range, a file missing or altered, or a cubin is not what its
    launch says.
    """
    listed = entry.entry("cubins")
    launches = _launches(*files.read(entry.entry("launches")))
    launches.only(listed.names(), listed.names())
    codes = {name: files.read(listed.entry(name))[1] for name in listed.names()}
    return _spec(launches, codes)


def check_cubin(cubin: Cubin, capability: int) -> None:
    """Raises EngineError where the code is for another chip, or has other parameters or threads than its launch."""
    found, launch = read_cubin(cubin.code), cubin.launch
    for what, wanted, got in (
        ("the kernel", launch.function, found.function),
        ("code for the chip", f"sm_{capability}", f"sm_{found.capability}"),
        ("offsets and sizes of parameters", layout(launch.kinds), found.parameters),
        ("threads of a block", launch.threads, found.threads or launch.threads),
    ):
        if wanted != got:
            raise EngineError(
                f"{launch.function}: expected {what} to be {wanted} as its launch metadata has it, "
                f"got {got} in the cubin; {AGAIN}"
            )


def _launches(path: Path, text: bytes) -> Entry:
    try:
        return Entry(json.loads(text), str(path))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} cannot be read ({error}); {AGAIN}") from None


def _spec(launches: Entry, codes: Mapping[str, bytes]) -> KernelsSpec:
    cubins: dict[int, dict[str, Cubin]] = {}
    for key, code in codes.items():
        parts = _KEY.fullmatch(key)
        if parts is None:
            raise BundleError(f"{launches.where}: expected kernels like NAME.sm_90, got {key!r}; {AGAIN}")
        cubin, capability = Cubin(read_launch(launches.entry(key)), code), int(parts[2])
        try:
            check_cubin(cubin, capability)
        except EngineError as error:
            raise BundleError(f"{launches.where}: {key}: {error}") from None
        cubins.setdefault(capability, {})[parts[1]] = cubin
    return KernelsSpec(cubins)
