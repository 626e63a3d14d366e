"""What is asked of TensorRT, in which order, by a library that only takes notes: nothing is computed, no GPU pretended.

Every name that it has is one of TensorRT-RTX's, where that is installed.
"""

from importlib import import_module
from importlib.util import find_spec
from types import SimpleNamespace

import pytest

from clear_rt.errors import EngineError
from clear_rt.plans import Plan, PlansSpec
from clear_rt.runtime.device import gpu_count
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.trt.executable import Form
from clear_rt.runtime.trt.lane import Lane
from clear_rt.runtime.trt.plans import OpenedPlans
from clear_rt.runtime.trt.program import Program
from clear_rt.runtime.trt_library import Library
from tests.runtime.host_driver import host_driver

pytestmark = pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here: test_trt_gpu.py runs on it")
STEP = {"latents": (1, 16, -1, -1, -1), "control": (1, -1, 32), "row": (), "velocity": (1, 16, -1, -1, -1)}
KINDS = {"latents": "FLOAT", "control": "BF16", "row": "INT64", "velocity": "FLOAT"}
# Of two profiles: latents and tokens.
PROFILES = [
    {"latents": (1, 16, 5, 4, 6), "control": (1, 30, 32)},
    {"latents": (1, 16, 5, 2, 4), "control": (1, 10, 32)},
]
SHAPES = {"latents": (1, 16, 5, 2, 4), "control": (1, 10, 32), "row": ()}
NAMES = {
    "Runtime": ["deserialize_cuda_engine"],
    "ICudaEngine": [
        "num_io_tensors", "num_optimization_profiles", "device_memory_size_v2", "get_tensor_name", "get_tensor_mode",
        "get_tensor_location", "get_tensor_dtype", "get_tensor_shape", "get_tensor_profile_shape",
        "create_execution_context", "create_runtime_config",
    ],
    "IRuntimeConfig": ["set_execution_context_allocation_strategy", "dynamic_shapes_kernel_specialization_strategy"],
    "IExecutionContext": [
        "set_optimization_profile_async", "set_input_shape", "set_device_memory", "get_tensor_shape",
        "set_tensor_address", "execute_async_v3", "is_stream_capturable",
    ],
}  # fmt: skip


class Only:
    """Has the attributes of a class of the library, and no others: a misspelt one shows."""

    def __init_subclass__(cls, of=None):
        allowed = NAMES[of]
        assert {name for name in vars(cls) if not name.startswith("_")} <= {*allowed}, of


class FakeConfig(Only, of="IRuntimeConfig"):
    dynamic_shapes_kernel_specialization_strategy = None

    def __init__(self, notes):
        self._notes = notes

    def set_execution_context_allocation_strategy(self, strategy):
        self._notes.append(("strategy", strategy))


class FakeContext(Only, of="IExecutionContext"):
    def __init__(self, library):
        self._library, self._notes, self._shapes = library, library.notes, {}

    def set_optimization_profile_async(self, profile, stream):
        self._notes.append(("profile", profile))
        return True

    def set_input_shape(self, name, shape):
        self._shapes[name] = shape
        return True

    def get_tensor_shape(self, name):
        return self._shapes["latents"] if name == "velocity" else self._shapes[name]

    def set_device_memory(self, pointer, size_bytes):
        self._notes.append(("activations", pointer, size_bytes))

    def set_tensor_address(self, name, pointer):
        self._notes.append(("address", name, pointer))
        return name not in self._library.refused

    def execute_async_v3(self, stream):
        self._notes.append(("run", stream))
        return "run" not in self._library.refused

    def is_stream_capturable(self, stream):
        return "capture" not in self._library.refused


class FakeEngine(Only, of="ICudaEngine"):
    num_io_tensors, num_optimization_profiles = len(STEP), len(PROFILES)

    def __init__(self, library):
        self._library, self.device_memory_size_v2 = library, 1 << 12

    def get_tensor_name(self, i):
        return [*STEP][i]

    def get_tensor_mode(self, name):
        return "OUTPUT" if name == "velocity" else "INPUT"

    def get_tensor_location(self, name):
        return "HOST" if name in self._library.on_host else "DEVICE"

    def get_tensor_dtype(self, name):
        return SimpleNamespace(name=self._library.kinds[name])

    def get_tensor_shape(self, name):
        return STEP[name]

    def get_tensor_profile_shape(self, name, profile):
        assert -1 in STEP[name]
        return [PROFILES[profile][name]] * 3

    def create_runtime_config(self):
        return FakeConfig(self._library.notes)

    def create_execution_context(self, strategy=None, runtime_config=None):
        self._library.notes.append(
            ("context", strategy or runtime_config.dynamic_shapes_kernel_specialization_strategy)
        )
        return FakeContext(self._library)


class FakeLibrary:
    """As the module, as far as we use it. `refused` fails what is in it; `notes` is what was asked for."""

    TensorIOMode = SimpleNamespace(INPUT="INPUT", OUTPUT="OUTPUT")
    TensorLocation = SimpleNamespace(DEVICE="DEVICE", HOST="HOST")
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED="USER_MANAGED")
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER="EAGER")

    class ILogger:
        Severity = SimpleNamespace(ERROR=1)

    def __init__(self):
        self.notes, self.refused, self.on_host, self.kinds = [], (), (), dict(KINDS)

    def Runtime(self, logger):
        if "runtime" in self.refused:
            logger.log(1, "no such\n GPU")
            raise TypeError
        self._logger = logger
        return self

    def deserialize_cuda_engine(self, plan):
        if "plan" in self.refused:
            self._logger.log(1, "built for another library")
            return None
        assert plan == b"a plan"
        return FakeEngine(self)


class Fixed(Library):
    """An installed library that is the fake one."""

    __slots__ = ("fake",)

    def load(self):
        return self.fake


def library_of(fake, module="tensorrt_rtx"):
    found = Fixed(module, "1.7", "13")
    object.__setattr__(found, "fake", fake)
    return found


@pytest.fixture
def driver():
    with host_driver() as found:
        yield found


@pytest.fixture
def opened(driver, tmp_path):
    path = tmp_path / "step.plan"
    path.write_bytes(b"a plan")

    def make(fake, module="tensorrt_rtx"):
        spec = PlansSpec(module, "1.7", "13", 89, "bf16", {"step": Plan(path, 0)})
        context = open_context()
        lane, memory = Lane(context), Memory(context)
        return OpenedPlans(spec, ["step"], library_of(fake, module), memory, lane.stream), lane, memory

    return make


@pytest.mark.skipif(find_spec("tensorrt_rtx") is None, reason="names are compared with TensorRT-RTX's: .[rtx]")
def test_every_name_is_one_of_the_library():
    trt = import_module("tensorrt_rtx")
    for owner, names in NAMES.items():
        assert {*names} <= {*dir(getattr(trt, owner))}
    for enumeration in ("TensorIOMode", "TensorLocation", "ExecutionContextAllocationStrategy",
                        "DynamicShapesKernelSpecializationStrategy"):  # fmt: skip
        for name in vars(getattr(FakeLibrary, enumeration)):
            assert hasattr(getattr(trt, enumeration), name)
    assert {*KINDS.values(), "HALF", "INT32", "INT8", "UINT8", "BOOL", "FP8"} <= {*dir(trt.DataType)}


def test_a_context_gets_its_profile_shapes_shared_memory_and_addresses_once(opened):
    fake = FakeLibrary()
    plans, lane, memory = opened(fake)
    first, second = (Program(plans.opened("step", SHAPES), lane, memory, "step") for _ in range(2))
    notes = [note for note in fake.notes if note[0] != "run"]
    assert [note[0] for note in notes] == ["strategy", "context", "profile", "activations", *["address"] * 4] * 2
    assert ("strategy", "USER_MANAGED") in notes
    assert ("context", "EAGER") in notes
    assert ("profile", 1) in notes
    activations = {note[1:] for note in notes if note[0] == "activations"}
    assert len(activations) == 1
    assert activations.pop()[1] == 1 << 12
    addresses = {note[1]: note[2] for note in notes[4:8]}
    assert addresses == {name: array.pointer for name, array in first.arrays.items()}
    assert first.arrays["velocity"].shape == SHAPES["latents"]
    assert first.arrays["control"].dtype == "bf16"
    asked = len(fake.notes)
    for program in (first, second, first):
        program()
    lane.stream.synchronize()
    # Replays are the driver's: the library is not asked again.
    assert len(fake.notes) == asked
    assert lane.graphs.count == 2


def test_tensorrt_itself_has_no_configuration_of_the_run_time(opened):
    fake = FakeLibrary()
    plans, _, _ = opened(fake, "tensorrt")
    executable = plans.opened("step", SHAPES)
    assert fake.notes[0] == ("context", "USER_MANAGED")
    assert executable.given["row"] == Form((), "i64")


@pytest.mark.parametrize("shapes", [
    {**SHAPES, "latents": (1, 16, 5, 2, 6)},
    {**SHAPES, "latents": (1, 16, 5, 4, 6)},
    {**SHAPES, "row": (1,)},
])  # fmt: skip
def test_sizes_that_it_was_not_built_for_are_refused_with_those_it_was(opened, shapes):
    plans, _, _ = opened(FakeLibrary())
    assert plans.takes("step", SHAPES)
    assert not plans.takes("step", shapes)
    assert not plans.takes("step", {"latents": SHAPES["latents"]})
    with pytest.raises(
        EngineError, match=r"built for \(latents \[1, 16, 5, 4, 6\] or \[1, 16, 5, 2, 4\]\), got latents"
    ):
        plans.opened("step", shapes)


@pytest.mark.parametrize(("refused", "said"), [
    ("runtime", r"TensorRT-RTX 1.7 does not take this GPU \(no such GPU\); use --engine cuda"),
    ("plan", r"cannot load the engine step \(built for another library\); build the bundle on this machine"),
    ("control", r"TensorRT cannot take control in the engine step"),
    ("run", r"TensorRT cannot run in the engine step"),
])  # fmt: skip
def test_what_the_library_refuses_is_told(opened, refused, said):
    fake = FakeLibrary()
    fake.refused = (refused,)

    def made():
        plans, lane, memory = opened(fake)
        Program(plans.opened("step", SHAPES), lane, memory, "step")

    with pytest.raises(EngineError, match=said):
        made()


def test_an_engine_that_cannot_be_captured_is_asked_before_and_runs_as_it_is(opened):
    fake = FakeLibrary()
    fake.refused = ("capture",)
    plans, lane, memory = opened(fake)
    program = Program(plans.opened("step", SHAPES), lane, memory, "step")
    runs = [note for note in fake.notes if note[0] == "run"]
    program()
    assert [note for note in fake.notes if note[0] == "run"] == [*runs, ("run", lane.stream.handle)]
    assert lane.graphs.refused == {"step": "TensorRT does not let the engine step be captured"}


def test_inputs_in_the_host_s_memory_and_unknown_types_are_refused(opened):
    fake = FakeLibrary()
    fake.on_host = ("row",)
    with pytest.raises(EngineError, match="expected row in the GPU's memory"):
        opened(fake)
    fake = FakeLibrary()
    fake.kinds["control"] = "FP4"
    with pytest.raises(EngineError, match="expected control of a type that we know, got FP4"):
        opened(fake)


def test_arrays_of_another_form_are_not_bound(opened):
    plans, lane, memory = opened(FakeLibrary())
    executable = plans.opened("step", SHAPES)
    arrays = {name: memory.zeros(lane.stream, form.shape, form.dtype)
              for name, form in {**executable.given, **executable.made}.items()}  # fmt: skip
    wrong = memory.zeros(lane.stream, SHAPES["control"], "fp32")
    for changed, said in (({"control": wrong}, r"expected control bf16 \[1, 10, 32\] without gaps, got fp32 \[1, 10"),
                          ({"more": wrong}, r"expected more nothing without gaps, got fp32")):  # fmt: skip
        with pytest.raises(EngineError, match=said):
            executable.bind({**arrays, **changed})
