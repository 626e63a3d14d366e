"""The occlusion prior, or the outliner, on ONNX Runtime; engines that run the generator elsewhere share it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clear_rt.bundle import PriorSpec
from clear_rt.errors import EngineError
from clear_rt.runtime.onnx_session import Tensor, check_tensors, first_line, open_session

_INPUT: Tensor = ("rgb", "tensor(uint8)", (1, None, None, 3))
_OUTPUT: Tensor = ("occlusion", "tensor(uint8)", (1, None, None))


class OnnxPrior:
    """One session, created once.

    Raises:
        EngineError: the graph cannot be loaded, keeps weights elsewhere, or has other inputs or outputs than expected.
    """

    def __init__(self, prior: PriorSpec) -> None:
        self._path = prior.path
        self._session = open_session(prior.path, prior.graph)
        check_tensors(self._path, "input", self._session.get_inputs(), [_INPUT])
        check_tensors(self._path, "output", self._session.get_outputs(), [_OUTPUT])

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """As `Engine.occlusion`. Raises EngineError where the graph fails or answers in another size."""
        try:
            result: npt.NDArray[np.uint8] = self._session.run([_OUTPUT[0]], {_INPUT[0]: rgb[None]})[0][0]
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
            raise EngineError(
                f"{self._path} failed on a picture of {rgb.shape[1]}x{rgb.shape[0]}: {first_line(error)}; "
                "build or fetch the bundle again"
            ) from None
        if result.shape != rgb.shape[:2]:
            raise EngineError(
                f"{self._path}: expected a map of {rgb.shape[1]}x{rgb.shape[0]}, found "
                f"{'x'.join(map(str, reversed(result.shape)))}; build the bundle again"
            )
        return result
