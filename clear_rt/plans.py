"""TensorRT's engines in a bundle: for whom they were built, and the reasons why they cannot run here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from clear_rt.manifest import Entry, Files
from clear_rt.runtime.device import Gpu
from clear_rt.runtime.trt_library import Library

PLAN_ROLES = ("encoder_first", "encoder_next", "decoder_first", "decoder_next", "control", "step", "prior")
LIBRARIES = ("tensorrt", "tensorrt_rtx")
PRECISIONS = ("bf16", "fp16", "fp8")
_NEWEST_CAPABILITY = 999
_MOST_BYTES = 1 << 50


@dataclass(frozen=True, slots=True)
class Plan:
    """One engine; `activation_bytes` is what it needs beside inputs and outputs while it runs."""

    path: Path
    activation_bytes: int


@dataclass(frozen=True, slots=True)
class PlansSpec:
    """Engines by role, for one library in one version and GPUs of one `capability`, such as 89."""

    library: str
    version: str
    cuda: str
    capability: int
    precision: str
    plans: Mapping[str, Plan]

    def obstacles(self, gpu: Gpu | None, library: Library | None) -> list[str]:
        """What differs between this machine and the one that they were built for, in words; nothing where they fit."""
        found = []
        if gpu is None:
            found.append(f"they need a GPU sm_{self.capability}, there is none here")
        elif gpu.capability != self.capability:
            found.append(f"they were built for sm_{self.capability}, this GPU is sm_{gpu.capability} ({gpu.name})")
        if library is None:
            found.append(f"they need {self.library} {self.version}, which is not installed")
        elif (library.module, library.version) != (self.library, self.version):
            found.append(
                f"they were built by {self.library} {self.version}, here is {library.module} {library.version}"
            )
        return found


def read_plans(entry: Entry, files: Files) -> PlansSpec:
    """Raises BundleError where a field is missing or out of range, or a file is missing or altered."""
    listed = entry.entry("files")
    roles = listed.only(PLAN_ROLES, PLAN_ROLES)
    return PlansSpec(
        library=entry.one_of("library", LIBRARIES),
        version=entry.text("version"),
        cuda=entry.take("cuda", "digits or nothing", lambda v: isinstance(v, str) and (v == "" or v.isdigit())),
        capability=entry.integer("capability", 10, _NEWEST_CAPABILITY),
        precision=entry.one_of("precision", PRECISIONS),
        plans={role: _plan(listed.entry(role), files) for role in roles},
    )


def _plan(entry: Entry, files: Files) -> Plan:
    return Plan(files.check(entry), entry.integer("activation_bytes", 0, _MOST_BYTES))
