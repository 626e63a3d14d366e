"""What decodes one video, and why it is not the GPU; shared by all who read its frames."""

from __future__ import annotations

from clear_rt.config import DecoderName
from clear_rt.errors import EngineError


class Decoder:
    """The CPU the first time that the frames are read, then NVDEC unless it was `asked` not to be or was declined.

    NVDEC says nothing of damage within a picture, so the first reading is the CPU's: it raises what it always raised,
    and only what it decodes to the end without damage is handed on. `frames` are those it counted, None before that.
    """

    def __init__(self, asked: DecoderName = "cpu") -> None:
        self.asked = asked
        self.frames: int | None = None
        self.why_not_gpu: str | None = None
        self.gpu_used = False

    @property
    def name(self) -> str:
        """Who decoded: "nvdec" where that gave any picture, else "cpu"."""
        return "nvdec" if self.gpu_used else "cpu"

    @property
    def may_use_gpu(self) -> bool:
        return self.asked != "cpu" and self.why_not_gpu is None

    def decline(self, why_not: str) -> None:
        """The CPU decodes from now on. Raises EngineError where NVDEC was asked for by name."""
        if self.asked == "nvdec":
            raise EngineError(f"--decoder nvdec cannot be honoured: {why_not}; use --decoder auto or cpu")
        if self.why_not_gpu is None:
            self.why_not_gpu = why_not
