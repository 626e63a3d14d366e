"""One engine of TensorRT: for which sizes it was built, and contexts for one of them.

A context serves one binding and one graph: a graph holds what its context knew when it was captured. Contexts keep no
memory for activations of their own; those of one stream share it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from clear_rt.errors import EngineError
from clear_rt.plans import PlansSpec
from clear_rt.runtime.slim.arrays import DeviceArray
from clear_rt.runtime.slim.stream import Stream
from clear_rt.runtime.trt.executable import Form, Shapes
from clear_rt.runtime.trt.plan_context import PlanContext

# trt.DataType by our names of them.
_TYPES = {
    "FLOAT": "fp32", "HALF": "fp16", "BF16": "bf16", "INT64": "i64", "INT32": "i32", "INT8": "i8", "UINT8": "u8",
    "BOOL": "bool", "FP8": "e4m3",
}  # fmt: skip


class PlanEngine:
    """Loaded by `runtime`. Raises EngineError where the library does not take it, or it is none of ours."""

    def __init__(self, trt: Any, runtime: Any, logger: Any, plans: PlansSpec, role: str) -> None:  # noqa: ANN401
        self._trt, self._runtime, self._logger, self._role = trt, runtime, logger, role
        self._engine: Any = runtime.deserialize_cuda_engine(plans.plans[role].path.read_bytes())
        if self._engine is None:
            raise EngineError(
                f"TensorRT cannot load the engine {role} ({logger.last}); build the bundle on this machine, "
                "or use --engine cuda or onnx"
            )
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        inputs = [name for name in names if self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        for name in names:
            if self._engine.get_tensor_location(name) != trt.TensorLocation.DEVICE:
                raise EngineError(f"engine {role}: expected {name} in the GPU's memory; build the bundle again")
        self._types = {name: self._type_of(name) for name in names}
        self._inputs, self._outputs = inputs, [name for name in names if name not in inputs]
        self.activation_bytes = int(self._engine.device_memory_size_v2)

    def _type_of(self, name: str) -> str:
        kind = self._engine.get_tensor_dtype(name)
        known = _TYPES.get(kind.name)
        if known is None:
            raise EngineError(f"engine {self._role}: expected {name} of a type that we know, got {kind.name}")
        return known

    def profile_of(self, shapes: Shapes) -> int | None:
        """The first profile that holds all shapes; None where there is none, or other inputs."""
        if shapes.keys() != {*self._inputs}:
            return None
        profiles = range(self._engine.num_optimization_profiles)
        return next((i for i in profiles if all(self._fits(name, i, shapes[name]) for name in shapes)), None)

    def _fits(self, name: str, profile: int, shape: Sequence[int]) -> bool:
        fixed = tuple(self._engine.get_tensor_shape(name))
        if -1 not in fixed:
            return fixed == tuple(shape)
        least, _, most = (tuple(sizes) for sizes in self._engine.get_tensor_profile_shape(name, profile))
        return len(shape) == len(least) and all(
            low <= size <= high for low, size, high in zip(least, shape, most, strict=True)
        )

    def opened(self, shapes: Shapes, stream: Stream, activations: DeviceArray, *, eager: bool) -> PlanContext:
        """Raises EngineError where no profile holds the shapes, or the library makes no context."""
        profile = self.profile_of(shapes)
        if profile is None:
            asked = ", ".join(f"{name} {[*shape]}" for name, shape in list(shapes.items())[:3])
            raise EngineError(
                f"engine {self._role}: expected sizes that the bundle was built for ({self._built_for()}), got "
                f"{asked}; build it with --profile for this region, or use --engine cuda or onnx"
            )
        context = self._context(eager)
        self._require(context is not None, "make a context of")
        self._require(context.set_optimization_profile_async(profile, stream.handle), "choose a profile of")
        stream.synchronize()
        for name, shape in shapes.items():
            self._require(context.set_input_shape(name, tuple(shape)), f"take {[*shape]} for {name} of")
        context.set_device_memory(activations.pointer, activations.size_bytes)
        given = {name: Form(tuple(shapes[name]), self._types[name]) for name in self._inputs}
        made = {name: Form(tuple(context.get_tensor_shape(name)), self._types[name]) for name in self._outputs}
        # Engine and runtime go after their contexts, and memory after what works in it.
        return PlanContext(self._role, context, given, made, self._logger, owner=(self, activations))

    def _context(self, eager: bool) -> Any:  # noqa: ANN401
        strategy = self._trt.ExecutionContextAllocationStrategy.USER_MANAGED
        if not eager:
            return self._engine.create_execution_context(strategy)
        # TensorRT-RTX compiles for shapes as it meets them, by default while it runs something slower: a graph would
        # hold that for ever.
        config = self._engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        config.dynamic_shapes_kernel_specialization_strategy = self._trt.DynamicShapesKernelSpecializationStrategy.EAGER
        return self._engine.create_execution_context(runtime_config=config)

    def _built_for(self) -> str:
        name = self._inputs[0]
        if -1 not in (fixed := tuple(self._engine.get_tensor_shape(name))):
            return f"{name} {[*fixed]}"
        profiles = range(self._engine.num_optimization_profiles)
        most = [[*self._engine.get_tensor_profile_shape(name, i)[2]] for i in profiles]
        return f"{name} {' or '.join(map(str, most))}"

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(
                f"TensorRT cannot {what} the engine {self._role} ({self._logger.last}); use --engine cuda or onnx"
            )
