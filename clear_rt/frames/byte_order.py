"""Pictures of big-endian samples, as PNG, TIFF and DPX have them, in the order that everything here reads."""

from __future__ import annotations

import av
from av.video.reformatter import VideoReformatter

from clear_rt.frames.layout import pixel_layout


class NativeOrder:
    """Turns the bytes of every sample around where that is needed; for one thread."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The same samples, time, colour description and side data; `picture` itself where nothing is to be done."""
        name = picture.format.name
        if not name.endswith("be") or pixel_layout(native := name.removesuffix("be") + "le") is None:
            return picture
        tags = picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace
        turned = self._reformatter.reformat(picture, format=native, threads=1)
        turned.color_range, turned.color_primaries, turned.color_trc, turned.colorspace = tags
        return turned
