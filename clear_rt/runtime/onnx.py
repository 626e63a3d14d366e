"""The `onnx` engine: ONNX Runtime on the CPU, what every machine can run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from clear_rt.bundle import Bundle, GeneratorSpec
from clear_rt.errors import EngineError
from clear_rt.restart import Coder, Host, check_caches
from clear_rt.runtime.engine import Caches, Floats
from clear_rt.runtime.onnx_prior import OnnxPrior
from clear_rt.runtime.onnx_session import ANY, Tensor, check_tensors, first_line, open_session

_FLOAT = "tensor(float)"


class OnnxEngine:
    """One session per graph of the bundle, created when it is first needed.

    Raises:
        EngineError: a graph cannot be loaded, keeps weights where no hash covers them, has other inputs or outputs than
            expected, or fails.
    """

    name = kept_as = "onnx"

    def __init__(self, bundle: Bundle) -> None:
        self._bundle = bundle
        self._prior = OnnxPrior(bundle.prior)
        self._sessions: dict[str, onnxruntime.InferenceSession] = {}

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`."""
        return self._prior.occlusion(rgb)

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, kept = self._vae_step("encoder", "frames", frames[None], caches)
        return latent[0, :, 0], kept

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, kept = self._vae_step("decoder", "latent", latent[None, :, None], caches)
        return frames[0], kept

    def control(self, latents: Floats) -> onnxruntime.OrtValue:
        """As `Engine.control`."""
        return self._run("control", {"latents": _value(latents[None])})[0]

    def velocity(self, latents: Floats, control: onnxruntime.OrtValue, row: int) -> Floats:
        """As `Engine.velocity`."""
        feeds = {"latents": _value(latents[None]), "control": control, "row": _value(np.array(row, np.int64))}
        velocity: Floats = self._run("step", feeds)[0].numpy()[0]
        return velocity

    def saved(self, caches: Caches) -> Iterator[Host]:
        """As `restart.KeepsCaches.saved`."""
        return (cache.numpy() for cache in caches)

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Caches:
        """As `restart.KeepsCaches.restored`."""
        session = self._session(f"{coder}_next")
        count = sum(tensor.name.startswith("cache_") for tensor in session.get_inputs())
        check_caches(arrays, count, 5, np.dtype(np.float32))
        return [_value(np.array(array)) for array in arrays]

    def _vae_step(self, role: str, name: str, value: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        feeds = {name: _value(value)} | {f"cache_{i}": cache for i, cache in enumerate(caches or ())}
        made, *kept = self._run(f"{role}_{'first' if caches is None else 'next'}", feeds)
        return made.numpy(), kept

    def _run(self, role: str, feeds: Mapping[str, onnxruntime.OrtValue]) -> list[Any]:
        session = self._session(role)
        try:
            made: list[Any] = session.run_with_ort_values(None, feeds)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
            shapes = ", ".join(f"{name} {value.shape()}" for name, value in list(feeds.items())[:3])
            raise EngineError(
                f"{self._generator.graphs[role].path} failed on {shapes}: {first_line(error)}; "
                "build or fetch the bundle again"
            ) from None
        return made

    @property
    def _generator(self) -> GeneratorSpec:
        if self._bundle.generator is None:
            raise EngineError(f"bundle {self._bundle.name} holds no generative model; use --fill membrane")
        return self._bundle.generator

    def _session(self, role: str) -> onnxruntime.InferenceSession:
        return self._sessions.get(role) or self._opened(role)

    def _opened(self, role: str) -> onnxruntime.InferenceSession:
        graph = self._generator.graphs[role]
        session = open_session(graph.path, graph.graph, graph.data)
        caches = sum(tensor.name.startswith("next_") for tensor in session.get_outputs())
        given, made = _tensors(role, self._generator.latent_channels, caches)
        check_tensors(graph.path, "input", session.get_inputs(), given)
        check_tensors(graph.path, "output", session.get_outputs(), made)
        self._sessions[role] = session
        return session


def _tensors(role: str, channels: int, caches: int) -> tuple[list[Tensor], list[Tensor]]:
    """What the graph of a role takes and gives, for latents of so many channels."""
    part, _, when = role.partition("_")
    latent, frames = ("latent", _FLOAT, (1, channels, 1, ANY, ANY)), ("frames", _FLOAT, (1, 3, ANY, ANY, ANY))
    latents, control = ("latents", _FLOAT, (1, channels, ANY, ANY, ANY)), ("control", _FLOAT, (1, ANY, ANY))
    if part == "control":
        return [latents], [control]
    if part == "step":
        velocity = ("velocity", _FLOAT, (1, channels, ANY, ANY, ANY))
        return [latents, control, ("row", "tensor(int64)", ())], [velocity]
    given, made = (frames, latent) if part == "encoder" else (latent, frames)
    old, new = ([(f"{word}_{i}", _FLOAT, (1, *(ANY,) * 4)) for i in range(caches)] for word in ("cache", "next"))
    return [given, *(old if when == "next" else ())], [made, *new]


def _value(array: npt.NDArray[Any]) -> onnxruntime.OrtValue:
    """A tensor of ONNX Runtime in the array's own memory, where that has no gaps."""
    return onnxruntime.OrtValue.ortvalue_from_numpy(np.require(array, requirements="C"))
