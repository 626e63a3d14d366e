"""swscale: a picture as small RGB, and a writable twin of a decoded picture with all its properties."""

from __future__ import annotations

from threading import Lock

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter
from numpy.typing import NDArray

from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.views import component_views, plane_rows
from clear_rt.shapes import Size, round_up

_MATRICES = {
    1: Colorspace.ITU709,
    4: Colorspace.FCC,
    5: Colorspace.ITU601,
    6: Colorspace.ITU601,
    7: Colorspace.SMPTE240M,
    9: Colorspace.BT2020,
    10: Colorspace.BT2020,
}
# Weights of red and blue in luma (ITU-T H.273, table 4).
_LUMA_WEIGHTS = {
    Colorspace.ITU709: (0.2126, 0.0722),
    Colorspace.FCC: (0.30, 0.11),
    Colorspace.ITU601: (0.299, 0.114),
    Colorspace.SMPTE240M: (0.212, 0.087),
    Colorspace.BT2020: (0.2627, 0.0593),
}
_FULL_RANGE = 2
# Unspecified matrices: SD material is BT.601, everything from 720 rows up BT.709 (what players and encoders assume).
_HD_HEIGHT_PX = 720
# Without full chroma interpolation swscale's shrinking loses up to 3 of 255 levels; with it 720p to 360p takes 2.1 ms.
_AREA = Interpolation.AREA | Interpolation.FULL_CHR_H_INT
# Keeps swscale from its tables, which 8-bit 4:2:0 and 4:2:2 go through at their own size: these cut off, which darkens
# luma by 1.2 codes of 255 and adds 0.2 to chroma; with it both means are within 0.01. 720x404 takes 1.7 ms instead of
# 0.1. BICUBIC and LANCZOS return chroma no better (3.1 and 3.9 ms), POINT leaves it in blocks.
_EXACT = _AREA | Interpolation.ACCURATE_RND


class Scaler:
    """One swscale context, reused from picture to picture while sizes stay; safe to share between threads."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._lock = Lock()

    def rgb(self, picture: av.VideoFrame, height_px: int, width_px: int, *, exact: bool = False) -> NDArray[np.uint8]:
        """Stored-orientation picture as uint8 [height_px, width_px, 3], possibly a view into a padded buffer.

        `exact` rounds instead of cutting off, and takes chroma for the mean of the pixels that share it, as
        `samples.samples_of` does: what was tagged as sited elsewhere is moved there.
        """
        if not exact:
            return self._scaled(picture, height_px, width_px, _AREA)
        cells = _whole_cells(picture)
        if (cells.width, cells.height) == (picture.width, picture.height):
            return self._scaled(cells, height_px, width_px, _EXACT)
        rgb = self._scaled(cells, cells.height, cells.width, _EXACT)[: picture.height, : picture.width]
        if rgb.shape == (height_px, width_px, 3):
            return rgb
        whole = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), "rgb24")
        return self._scaled(whole, height_px, width_px, _EXACT)

    def _scaled(self, picture: av.VideoFrame, height_px: int, width_px: int, flags: Interpolation) -> NDArray[np.uint8]:
        with self._lock:
            scaled = self._reformatter.reformat(
                picture,
                width=width_px,
                height=height_px,
                format="rgb24",
                src_colorspace=_matrix(picture),
                src_color_range=_range(picture),
                dst_color_range=ColorRange.JPEG,
                interpolation=flags,
                threads=1,
            )
        return plane_rows(scaled.planes[0])[:, : 3 * width_px].reshape(height_px, width_px, 3)


def _whole_cells(picture: av.VideoFrame) -> av.VideoFrame:
    """A new picture that ends with whole cells of pixels that share a chroma sample, its last pixels repeated.

    Without subsampling the picture itself.

    swscale stretches the 640 chroma samples of 1279 pixels over these 1279, up to 0.46 samples away from their cells.
    It also heeds where chroma is tagged to be sited, half a pixel to the left in most H.264; PyAV cannot tell or
    change that, and a new picture has no such tag (0.3 ms at 720p).
    """
    layout = pixel_layout(picture.format.name)
    steps = [(1 << part.log2_x, 1 << part.log2_y) for part in layout.components] if layout else []
    step_x_px, step_y_px = (max(axis) for axis in zip(*steps, strict=True)) if steps else (1, 1)
    if layout is None or (step_x_px, step_y_px) == (1, 1):
        return picture
    size = Size(round_up(picture.width, step_x_px), round_up(picture.height, step_y_px))
    cells = av.VideoFrame(*size, picture.format.name)
    for its, whole in zip(component_views(picture, layout), component_views(cells, layout, True), strict=True):
        height_px, width_px = its.shape
        whole[:height_px, :width_px] = its
        whole[:height_px, width_px:] = its[:, -1:]
        whole[height_px:] = whole[height_px - 1]
    # The matrix that is assumed where none is tagged goes by the height, which may have grown.
    cells.color_range, cells.colorspace = picture.color_range, int(_matrix(picture))
    return cells


def _matrix(picture: av.VideoFrame) -> Colorspace:
    default = Colorspace.ITU709 if picture.height >= _HD_HEIGHT_PX else Colorspace.ITU601
    return _MATRICES.get(picture.colorspace, default)


def luma_weights(picture: av.VideoFrame) -> tuple[float, float]:
    """Weights of red and blue in the luma of `picture`, by the matrix that `Scaler.rgb` takes for it."""
    return _LUMA_WEIGHTS[_matrix(picture)]


def is_full_range(picture: av.VideoFrame) -> bool:
    """Whether black is 0 and white the largest code, as `Scaler.rgb` is told."""
    full: bool = picture.color_range == _FULL_RANGE or picture.format.name.startswith("yuvj") or picture.format.is_rgb
    return full


def _range(picture: av.VideoFrame) -> ColorRange:
    return ColorRange.JPEG if is_full_range(picture) else ColorRange.MPEG


def copy_with_properties(picture: av.VideoFrame) -> av.VideoFrame:
    """A new picture of the same format, size, time, colour description and side data; its samples are undefined.

    PyAV copies side data and field flags only inside swscale, so a range conversion is asked for (0.7 ms at 720p)
    and its samples ignored; in a named matrix, as swscale refuses 7 of the 15. RGB has no range to convert: there the
    copy goes without side data.
    """
    tags = _tags(picture)
    twin = picture
    if not picture.format.is_rgb:
        twin = VideoReformatter().reformat(
            picture,
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.POINT,
            threads=1,
        )
    if twin is picture or twin.format.name != picture.format.name:
        twin = av.VideoFrame(picture.width, picture.height, picture.format.name)
        twin.pts, twin.time_base, twin.duration = picture.pts, picture.time_base, picture.duration
    twin.color_range, twin.color_primaries, twin.color_trc, twin.colorspace = tags
    return twin


def _tags(picture: av.VideoFrame) -> tuple[int, int, int, int]:
    return picture.color_range, picture.color_primaries, picture.color_trc, picture.colorspace
