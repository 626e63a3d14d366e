"""The protocol that every engine implements, and the choice among them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import Bundle
from clear_rt.config import EngineName, KernelsName
from clear_rt.errors import EngineError
from clear_rt.runtime.device import first_gpu, gpu_count
from clear_rt.runtime.trt_library import library_found

Floats = npt.NDArray[np.float32]
Caches = Sequence[Any]
_WHAT = {"onnx": "ONNX graphs", "trt": "a TensorRT engine", "cuda": "weights for the cuda engine"}
_RUN_ANYWHERE = ("onnx", "cuda")
_log = logging.getLogger(__name__)


class Engine(Protocol):
    """Runs the networks of one bundle. Everything but `occlusion` needs a bundle with a generator.

    Latents are normalised, [C, L, h, w], the picture's size divided by the bundle's `latent_px` each way.
    """

    name: str

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """rgb uint8 [H, W, 3], H and W multiples of the bundle's -> uint8 [H, W], 255 x subtitle probability."""
        ...

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """The next frames of a run, [3, T, H, W] in [-1, 1] -> latent [C, h, w], and what the next call must be given.

        T is 1 at the start, where there are no caches, and the bundle's `latent_frames` afterwards.
        """
        ...

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """The next latent [C, h, w] of a run -> frames [3, T, H, W] near [-1, 1], not clipped; T as in `encode`."""
        ...

    def control(self, latents: Floats) -> Any:  # noqa: ANN401 - whatever `velocity` of the same engine wants
        """Control latents of a window [C, L, h, w] -> what `velocity` takes at every step of that window."""
        ...

    def velocity(self, latents: Floats, control: Any, row: int) -> Floats:  # noqa: ANN401 - what `control` returned
        """Latents [C, L, h, w] of a window at row `row` of the bundle's timesteps -> velocity, same shape."""
        ...


def _way_out(bundle: Bundle) -> str:
    runs = [name for name in _RUN_ANYWHERE if name in bundle.engines]
    return f"use --engine {runs[0]}" if runs else "give a bundle that was built for onnx"


def chosen_engine(name: EngineName, bundle: Bundle, *, generates: bool) -> EngineName:
    """What `open_engine` opens.

    For `auto` that is trt where the bundle has engines for this machine, else cuda where it holds that and there is a
    GPU, else onnx.
    """
    if name != "auto":
        return name
    if not generates:
        return "onnx"
    if "trt" in bundle.engines and not trt_obstacles(bundle):
        return "trt"
    return _chosen_besides_trt(bundle)


def _chosen_besides_trt(bundle: Bundle) -> EngineName:
    if "cuda" not in bundle.engines:
        return "onnx"
    # torch takes a second to import, and may be installed in a way that does not work: only where it is of use.
    return "cuda" if "onnx" not in bundle.engines or gpu_count() > 0 else "onnx"


def trt_obstacles(bundle: Bundle) -> list[str]:
    """Why the bundle's engines of TensorRT cannot run here, each thing that differs; nothing where they fit."""
    plans = None if bundle.generator is None else bundle.generator.plans
    if plans is None:
        return ["the bundle has none"]
    return plans.obstacles(first_gpu(), library_found())


def open_engine(name: EngineName, bundle: Bundle, *, generates: bool = True, kernels: KernelsName = "auto") -> Engine:
    """The engine asked for; `auto` takes what `chosen_engine` says.

    Without `generates` only the prior will be run, which every bundle holds for `onnx`. `kernels` is for `cuda`. Where
    `auto` takes trt and the library does not take the engines after all, the log says so, and the next one is taken.

    Raises:
        EngineError: the bundle holds nothing for that engine, it was built for another machine, or what it needs is not
            installed; or the engine has no such kernels.
        BundleError: what the bundle holds is not ours.
    """
    chosen, held = chosen_engine(name, bundle, generates=generates), ", ".join(bundle.engines)
    if chosen not in bundle.engines and (generates or chosen != "onnx"):
        refused = name == "auto" and "trt" in bundle.engines
        besides = f" (and trt does not run here: {' and '.join(trt_obstacles(bundle))})" if refused else ""
        raise EngineError(
            f"--engine {name}: bundle {bundle.name} holds {held} only, not {_WHAT[chosen]}{besides}; {_way_out(bundle)}"
        )
    if kernels != "auto" and chosen != "cuda":
        remedy = (
            "name that engine" if "cuda" in bundle.engines else f"leave it out: bundle {bundle.name} holds {held} only"
        )
        raise EngineError(f"--kernels {kernels} is for --engine cuda, and {chosen} would run; {remedy}")
    if chosen == "trt":
        try:
            return _trt_engine(bundle)
        except EngineError as error:
            others = {*bundle.engines} & {*_RUN_ANYWHERE}
            if name != "auto" or not others:
                raise
            chosen = _chosen_besides_trt(bundle)
            _log.warning("--engine auto takes %s: %s", chosen, error)
    if chosen == "cuda":
        return _torch_engine(bundle, kernels)
    from clear_rt.runtime.onnx import OnnxEngine

    return OnnxEngine(bundle)


def _trt_engine(bundle: Bundle) -> Engine:
    obstacles = trt_obstacles(bundle)
    if obstacles:
        raise EngineError(
            f"--engine trt: bundle {bundle.name} has engines, but {' and '.join(obstacles)}; {_way_out(bundle)}"
        )
    from clear_rt.runtime.trt.engine import TrtEngine

    return TrtEngine(bundle)


def _torch_engine(bundle: Bundle, kernels: KernelsName) -> Engine:
    try:
        if kernels == "torch" or (kernels == "auto" and not (gpu_count() and find_spec("triton"))):
            from clear_rt.runtime.torch import TorchEngine

            return TorchEngine(bundle)
        from clear_rt.runtime.cuda.engine import CudaEngine
    except (ImportError, OSError) as error:
        if getattr(error, "name", None) == "triton":
            raise EngineError("--kernels triton needs Triton; run pip install 'clear-rt[cuda]'") from None
        other = "or use --engine onnx" if "onnx" in bundle.engines else "or give a bundle that was built for onnx"
        raise EngineError(
            f"--engine cuda needs torch and safetensors, which cannot be imported ({' '.join(str(error).split())}); "
            f"run pip install 'clear-rt[cuda]' {other}"
        ) from None
    return CudaEngine(bundle)
