"""Frames of a video to what an engine is shown of them, and what it made of them back into the frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from clear_rt.composite import paste
from clear_rt.config import CompositeConfig
from clear_rt.crops import Placement
from clear_rt.draft import draft
from clear_rt.frames import Frame
from clear_rt.latents import picture_of, to_engine
from clear_rt.shapes import Size

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]
Key = TypeVar("Key")
# Whatever `cut` makes of a part of a frame.
Crop = Any


class Pictures(Protocol):
    """May be called on any thread, also on several at once."""

    def cut(self, frame: Frame, matte: UInt8 | None, placements: Mapping[Key, Placement]) -> dict[Key, Crop]:
        """The crops of a frame; their drafts where there is a matte uint8 [h, w], which covers the whole picture."""
        ...

    def shown(self, crops: Sequence[Crop]) -> Any:  # noqa: ANN401 - what the engine's `encode` takes
        """The crops of one latent as the encoder wants them, [3, T, H, W], -1..1."""
        ...

    def picture(self, generated: Any) -> Floats:  # noqa: ANN401 - what the engine's `decode` made
        """RGB float32 [H, W, 3], 0..255, of a generated crop [3, H, W]. Raises EngineError as `latents.picture_of`."""
        ...

    def pasted(
        self,
        frame: Frame,
        placement: Placement,
        matte: UInt8,
        config: CompositeConfig,
        generated: Any,  # noqa: ANN401
    ) -> Frame:
        """The frame with what was generated for its crop in the region: as `composite.paste`.

        Generated values that are no numbers raise EngineError here, or in `decode` before.
        """
        ...


class HostPictures:
    """As `Pictures`, by swscale and numpy: pictures of any format, orientation and scale."""

    def cut(self, frame: Frame, matte: UInt8 | None, placements: Mapping[Key, Placement]) -> dict[Key, Crop]:
        """Crops uint8 [H, W, 3]."""
        whole: dict[Size, UInt8] = {}
        crops: dict[Key, Crop] = {}
        for key, placement in placements.items():
            size = placement.scaled
            if size not in whole:
                whole[size] = frame.rgb(size.height_px, size.width_px, exact=True)
            crop = placement.cut(whole[size])
            crops[key] = crop if matte is None else draft(crop, placement.cut_alpha(matte))
        return crops

    def shown(self, crops: Sequence[Crop]) -> Any:  # noqa: ANN401
        """float32, numpy's."""
        return to_engine(crops)

    def picture(self, generated: Any) -> Floats:  # noqa: ANN401
        """As `latents.picture_of`."""
        return picture_of(generated)

    def pasted(
        self,
        frame: Frame,
        placement: Placement,
        matte: UInt8,
        config: CompositeConfig,
        generated: Any,  # noqa: ANN401
    ) -> Frame:
        """As `Pictures.pasted`."""
        content = placement.restore(self.picture(generated))
        return paste(frame, placement.target, matte, config, frame.samples_of(content, placement.target))
