"""Runs the TensorRT engines of a bundle on torch's memory, to compare them with their networks. Not what users run."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from clear_rt.bundle import Bundle
from clear_rt.errors import EngineError
from clear_rt.export.plan_builder import quiet_logger
from clear_rt.plans import PlansSpec
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.engine import Caches, Floats
from clear_rt.runtime.torch_networks import as_array
from clear_rt.runtime.trt_library import library_found
from clear_rt.shapes import Size


class PlanRunner:
    """The engines at one of the bundle's profiles, as `clear_rt.runtime.engine.Engine` but for the prior.

    Raises EngineError where they were built for another GPU or library, or the library cannot load or run them.
    """

    def __init__(self, bundle: Bundle, size: Size) -> None:
        assert bundle.generator is not None
        assert bundle.generator.plans is not None
        plans, library = bundle.generator.plans, library_found()
        obstacles = plans.obstacles(first_gpu(), library)
        if obstacles or library is None:
            raise EngineError(
                f"bundle {bundle.name} has TensorRT engines, but {obstacles[0]}; build it on this machine"
            )
        self._trt: Any = library.load()
        self._logger = quiet_logger(self._trt)
        try:
            self._runtime = self._trt.Runtime(self._logger)
        except TypeError:
            # What its bindings raise where the library gives none.
            raise EngineError(
                f"{library.title} does not take this GPU ({self._logger.last}); use --engine cuda"
            ) from None
        # On the default stream TensorRT synchronises.
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._profile = bundle.generator.profiles.index(size)
        self._plans, self._running = plans, dict[str, _Running]()

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, *kept = self._vae("encoder", "frames", frames[None], caches)
        return as_array(latent)[0, :, 0], kept

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, *kept = self._vae("decoder", "latent", latent[None, :, None], caches)
        return as_array(frames)[0], kept

    def control(self, latents: Floats) -> Tensor:
        """As `Engine.control`."""
        return self._ran("control", {"latents": _tensor(latents[None])})[0]

    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        """As `Engine.velocity`."""
        return as_array(self.step(_tensor(latents[None]), control, torch.tensor(row, device="cuda")))[0]

    def step(self, latents: Tensor, control: Tensor, row: Tensor) -> Tensor:
        """`velocity` of latents [1, C, L, h, w] on the GPU, which stay there; row int64 []."""
        return self._ran("step", {"latents": latents, "control": control, "row": row})[0]

    def _vae(self, role: str, name: str, value: Floats, caches: Caches | None) -> list[Tensor]:
        given = {name: _tensor(value)} | {f"cache_{i}": cache for i, cache in enumerate(caches or ())}
        return self._ran(f"{role}_{'first' if caches is None else 'next'}", given)

    def _ran(self, role: str, given: Mapping[str, Tensor]) -> list[Tensor]:
        if role not in self._running:
            self._running[role] = _Running(self._trt, self._runtime, self._logger, self._plans, role)
            self._running[role].choose(self._profile, self._stream)
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            made = self._running[role](given)
        torch.cuda.current_stream().wait_stream(self._stream)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.clear()


class _Running:
    """One engine and its context."""

    def __init__(self, trt: Any, runtime: Any, logger: Any, plans: PlansSpec, role: str) -> None:  # noqa: ANN401
        self._trt, self._logger, self._role = trt, logger, role
        self._engine = runtime.deserialize_cuda_engine(plans.plans[role].path.read_bytes())
        self._context: Any = None if self._engine is None else self._engine.create_execution_context()
        self._require(self._context is not None, "load")
        self._names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]

    def choose(self, profile: int, stream: torch.cuda.Stream) -> None:
        self._require(self._context.set_optimization_profile_async(profile, stream.cuda_stream), "choose a profile of")
        stream.synchronize()

    def __call__(self, given: Mapping[str, Tensor]) -> list[Tensor]:
        """Outputs in the graph's order, on the current stream."""
        held = [tensor.contiguous() for tensor in given.values()]
        for name, tensor in zip(given, held, strict=True):
            self._require(
                self._context.set_input_shape(name, tuple(tensor.shape)), f"take {[*tensor.shape]} for {name} of"
            )
            self._require(self._context.set_tensor_address(name, tensor.data_ptr()), f"take {name} of")
        made = [self._output(name) for name in self._names if name not in given]
        self._require(self._context.execute_async_v3(torch.cuda.current_stream().cuda_stream), "run")
        return made

    def _require(self, done: bool, what: str) -> None:
        if not done:
            raise EngineError(
                f"TensorRT cannot {what} the engine {self._role} ({self._logger.last}); use --engine cuda"
            )

    def _output(self, name: str) -> Tensor:
        shape = tuple(self._context.get_tensor_shape(name))
        types = {
            self._trt.DataType.FLOAT: torch.float32,
            self._trt.DataType.HALF: torch.float16,
            self._trt.DataType.BF16: torch.bfloat16,
        }
        tensor = torch.empty(shape, dtype=types[self._engine.get_tensor_dtype(name)], device="cuda")
        self._context.set_tensor_address(name, tensor.data_ptr())
        return tensor


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).cuda()
