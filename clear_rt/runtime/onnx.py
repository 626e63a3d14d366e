"""The `onnx` engine: ONNX Runtime on the CPU, what every machine can run."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnxruntime

from clear_rt.bundle import Bundle
from clear_rt.errors import EngineError


class OnnxEngine:
    """One session per graph of the bundle, created once."""

    name = "onnx"

    def __init__(self, bundle: Bundle) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        # Spinning between pictures takes the core that the decoder and the encoder wait for.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._prior = onnxruntime.InferenceSession(bundle.prior.path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - ONNX Runtime raises classes that it does not export
            raise EngineError(f"ONNX Runtime cannot load {bundle.prior.path}: {str(error).splitlines()[0]}") from None

    def occlusion(self, rgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        result: npt.NDArray[np.uint8] = self._prior.run(None, {"rgb": rgb[None]})[0][0]
        return result
