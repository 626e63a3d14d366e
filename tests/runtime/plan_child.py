"""Opens engines of TensorRT in a process without torch, as the `trt` engine does: a library may take its process along.

    python -m tests.runtime.plan_child FOLDER CAPABILITY

FOLDER holds ROLE.plan. A line for every role is what is said of it. Where there is no GPU, memory is the host's.
"""

import sys
from contextlib import nullcontext
from pathlib import Path

from clear_rt.errors import EngineError
from clear_rt.plans import PLAN_ROLES, Plan, PlansSpec
from clear_rt.runtime.device import gpu_count
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import new_stream
from clear_rt.runtime.trt.plans import OpenedPlans
from clear_rt.runtime.trt_library import required_library
from tests.runtime.host_driver import host_driver


def main():
    folder, capability = Path(sys.argv[1]), int(sys.argv[2])
    library = required_library()
    plans = {role: Plan(folder / f"{role}.plan", 0) for role in PLAN_ROLES}
    spec = PlansSpec(library.module, library.version, library.cuda, capability, "bf16", plans)
    with nullcontext() if gpu_count() else host_driver():
        context = open_context()
        memory, stream = Memory(context), new_stream(context)
        for role in PLAN_ROLES:
            try:
                OpenedPlans(spec, [role], library, memory, stream)
            except EngineError as error:
                sys.stdout.write(f"{error}\n")
            else:
                sys.stdout.write("opened\n")
    assert not {"torch", "triton", "onnx", "diffusers"} & {*sys.modules}


if __name__ == "__main__":
    main()
