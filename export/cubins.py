"""Our kernels as files of a bundle, compiled for its GPUs: what the slim runtime launches beside TensorRT's engines."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.export.stored import file_entry
from clear_rt.runtime.slim.kernel_files import LAUNCHES


def write_cubins(folder: Path, capabilities: Sequence[int], half: str, head_width: int) -> dict[str, Any] | None:
    """Compiles into `folder` and returns the manifest's entry, None where nothing can be compiled.

    That is where Triton is not installed or none of `capabilities` is a GPU that kernels are for. `half` is bf16 or
    fp16, `head_width` that of attention, whose kernels are left out where there are none for it.

    Raises EngineError where a kernel does not compile, or not within the limits of a GPU.
    """
    if find_spec("triton") is None:
        return None
    from clear_rt.kernels.chips import CAPABILITIES

    chips = [chip for chip in dict.fromkeys(capabilities) if chip in CAPABILITIES]
    if not chips:
        return None
    with tempfile.TemporaryDirectory(prefix=".kernels-", dir=folder.parent) as scratch:
        _compile(Path(scratch), chips, half, head_width)
        paths = sorted(Path(scratch).glob("*.cubin"))
        launches = {path.stem: json.loads(path.with_suffix(".json").read_text()) for path in paths}
        cubins = {path.stem: file_entry(path.rename(folder / path.name)) for path in paths}
    (folder / LAUNCHES).write_text(json.dumps(launches, indent=1) + "\n")
    return {"launches": file_entry(folder / LAUNCHES), "cubins": cubins}


def _compile(folder: Path, chips: Sequence[int], half: str, head_width: int) -> None:
    """In a process of its own, where kernels are the compiler's, not the interpreter's."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    # Lines of sources would bring the paths of this machine along, and thrice the bytes.
    environment["TRITON_DISABLE_LINE_INFO"] = "1"
    order = [str(folder), ",".join(map(str, chips)), half, str(head_width)]
    command = [sys.executable, "-m", "clear_rt.export.cubin_builder", *order]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or [f"status {done.returncode}"]
        raise EngineError(
            f"expected our kernels to compile for sm_{', sm_'.join(map(str, chips))}, Triton said: {lines[-1][:200]}; "
            "install the Triton of clear-rt[cuda]"
        )
