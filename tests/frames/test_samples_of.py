"""RGB content in a frame's own samples: the way back from exact `Frame.rgb`, in every format, range and matrix."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction

import av
import numpy as np
import pytest

from clear_rt.frames import Frame, probe, read
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.scale import Scaler
from clear_rt.frames.views import component_views
from clear_rt.shapes import Box, plane_box

FORMATS = [
    "yuv420p", "yuv422p", "yuv444p", "yuv440p", "yuv411p", "yuvj420p", "yuva420p", "yuv420p10le", "yuv422p10le",
    "yuv444p10le", "yuv420p12le", "nv12", "nv16", "p010le", "yuyv422", "gbrp", "gbrp10le", "gbrap12le", "rgb24",
    "bgr0", "rgba", "rgb48le", "gray", "gray10le", "ya8",
]  # fmt: skip
MATRICES = {"601": 5, "709": 1, "2020": 9, "240M": 7, "unspecified": 2}
TURNED = Orientation(True, True, False)


def _frame(pixel_format, component_values, size=(64, 48), matrix=1, range_=1, orientation=None):
    """A frame of components filled by `component_values(i, height, width)`, codes of 8 bits scaled to the format's."""
    layout = pixel_layout(pixel_format)
    picture = av.VideoFrame(*size, pixel_format)
    for i, view in enumerate(component_views(picture, layout, writable=True)):
        values = np.asarray(component_values(i, *view.shape)) * 2.0 ** (layout.bits - 8)
        view[...] = np.rint(np.clip(values, 0, 2**layout.bits - 1)).astype(layout.dtype) << layout.shift
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    picture.colorspace, picture.color_range = matrix, range_
    return Frame(picture, 0, 0, layout, orientation or Orientation(), Scaler())


def _size(frame):
    return next(plane.samples.shape for plane in frame.planes if plane.step_x_px == plane.step_y_px == 1)


def _back(frame, box=None):
    """(source codes, codes after `rgb` and `samples_of`, plane) of every plane that is no alpha."""
    height, width = _size(frame)
    box = box or Box(0, 0, width, height)
    rgb = frame.rgb(height, width, exact=True).astype(np.float32)[box.slices]
    for plane, found in zip(frame.planes, frame.samples_of(rgb, box), strict=True):
        if plane.kind == "alpha":
            assert found is None
            continue
        inner = plane_box(box, plane.step_x_px, plane.step_y_px)
        source = (plane.samples[inner.slices] >> plane.shift).astype(float)
        assert found.dtype == np.float32
        assert found.shape == source.shape
        yield source, found.astype(float), plane


def _smooth(pixel_format):
    """Slow waves, every colour of which has a place in RGB. RGB formats: the three channels differ."""
    is_rgb = pixel_layout(pixel_format).is_rgb
    middle, swing = ((128, 128, 128, 255), (90, 70, 80, 0)) if is_rgb else ((120, 128, 128, 255), (60, 14, 16, 0))

    def values(i, height, width):
        y, x = np.mgrid[:height, :width]
        return middle[i] + swing[i] * np.sin(2 * np.pi * (x / width / (1 + i) + 0.3 * y / height))

    return values


@pytest.mark.parametrize("orientation", [Orientation(), TURNED], ids=["stored", "turned"])
@pytest.mark.parametrize("range_", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_smooth_pictures_come_back(pixel_format, matrix, range_, orientation):
    """Bounds in codes of 8 bits.

    Luma is a weighted mean of R, G and B (times 219/255 in limited range), which `rgb` rounds to integers: at most 0.5
    from that, and as much again for swscale's integer coefficients. A channel of RGB is off by less than 1: its
    rounding, and a turn by way of 15 bits. Chroma differs most where cells average what swscale interpolated.
    """
    frame = _frame(pixel_format, _smooth(pixel_format), (64, 48), MATRICES[matrix], range_, orientation)
    bounds = {"luma": 1.0, "rgb": 1.0, "chroma": 2.5}
    for source, found, plane in _back(frame):
        assert np.abs(found - source).max() / 2 ** (plane.bits - 8) <= bounds[plane.kind], plane.kind


@pytest.mark.parametrize("range_", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_flat_grey_comes_back(pixel_format, range_):
    """8 bits: R = G = B is rounded by at most 0.5, which is 0.43 codes of limited luma: the same code again.

    With more bits the 8 bits of `rgb` are the limit: half of 2**(bits - 8).
    """
    for level in range(16, 236, 3):
        is_rgb = pixel_layout(pixel_format).is_rgb
        frame = _frame(pixel_format, lambda i, h, w: np.full((h, w), level if i == 0 or is_rgb else 128), range_=range_)  # noqa: B023
        for source, found, plane in _back(frame):
            if plane.bits == 8:
                assert np.abs(np.rint(found) - source).max() == 0, level
            else:
                assert np.abs(found - source).max() <= 0.51 * 2 ** (plane.bits - 8), level


@pytest.mark.parametrize("pixel_format", ["yuv420p", "nv12", "yuv422p10le", "yuv411p", "yuv440p"])
@pytest.mark.parametrize("orientation", [Orientation(), TURNED], ids=["stored", "turned"])
@pytest.mark.parametrize("box", [Box(0, 0, 33, 33), Box(7, 5, 1, 1), Box(3, 9, 22, 15), Box(32, 31, 1, 2)])
def test_chroma_is_the_mean_of_the_pixels_it_stands_for(pixel_format, orientation, box):
    """Against a definition in fp64, one sample at a time; pixels outside the box are the nearest inside it.

    The turned picture's columns are the stored one's rows from the last to the first: its first cell is the one that
    the 33 rows end in.
    """
    frame = _frame(pixel_format, lambda i, h, w: np.full((h, w), 128), (33, 33), 5, 1, orientation)
    rgb = np.random.default_rng(3).uniform(0, 255, (box.height_px, box.width_px, 3)).astype(np.float32)
    found = frame.samples_of(rgb, box)
    cb, cr = np.array([-37.797, -74.203, 112]) / 255, np.array([112, -93.786, -18.214]) / 255
    for plane, values, weights in zip(frame.planes[1:3], found[1:3], (cb, cr), strict=True):
        inner = plane_box(box, plane.step_x_px, plane.step_y_px)
        for (row, column), value in np.ndenumerate(values):
            before = -33 % plane.step_x_px if orientation is TURNED else 0
            y = np.arange(plane.step_y_px) + (inner.y_px + row) * plane.step_y_px - box.y_px
            x = np.arange(plane.step_x_px) + (inner.x_px + column) * plane.step_x_px - box.x_px - before
            cell = rgb[np.clip(y, 0, box.height_px - 1)][:, np.clip(x, 0, box.width_px - 1)].astype(np.float64)
            expected = (128 + cell.mean(axis=(0, 1)) @ weights) * 2 ** (plane.bits - 8)
            # The weights of BT.601 are given to 1e-3 here: 255 * 3 * 1e-3 / 255 codes of 8 bits.
            assert abs(value - expected) < 4e-3 * 2 ** (plane.bits - 8)


@pytest.mark.parametrize(
    ("matrix", "range_", "colour", "expected"),
    [
        (5, 1, (255, 0, 0), (81.5, 90.2, 240)),
        (1, 1, (255, 0, 0), (62.6, 102.3, 240)),
        (9, 1, (0, 0, 255), (29.0, 240, 119.0)),
        (5, 2, (0, 255, 0), (149.7, 43.5, 21.2)),
        (1, 2, (255, 255, 255), (255, 128, 128)),
    ],
)
def test_known_colours(matrix, range_, colour, expected):
    frame = _frame("yuv444p", lambda i, h, w: np.full((h, w), 128), matrix=matrix, range_=range_)
    found = frame.samples_of(np.full((4, 4, 3), colour, np.float32), Box(8, 8, 4, 4))
    np.testing.assert_allclose([values[1, 1] for values in found], expected, atol=0.06)


def test_content_of_another_size_is_refused():
    frame = _frame("yuv420p", lambda i, h, w: np.full((h, w), 128))
    with pytest.raises(ValueError, match="expected content of 4x6"):
        frame.samples_of(np.zeros((4, 6, 3), np.float32), Box(0, 0, 4, 6))


def _colourful(i, height, width):
    """Waves whose colours all have a place in RGB, chroma's up to 25 codes."""
    y, x = np.mgrid[:height, :width]
    middle, swing = ((120, 60), (128, 25), (128, 28), (255, 0))[i]
    return middle + swing * np.sin(2 * np.pi * (1.5 * x / width / (1 + i) + 0.8 * y / height))


@pytest.mark.parametrize("range_", [1, 2], ids=["limited", "full"])
@pytest.mark.parametrize("size", [(320, 180), (319, 179)], ids=["even", "odd"])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv444p", "nv12", "yuva420p", "yuv420p10le"])
def test_the_way_there_and_back_shifts_no_colour(pixel_format, size, range_):
    """Rounding errors are even about 0; what cuts off is 1.2 codes of luma and 0.2 of chroma darker or brighter."""
    frame = _frame(pixel_format, _colourful, size, range_=range_)
    for source, found, plane in _back(frame):
        assert abs((found - source).mean()) / 2 ** (plane.bits - 8) <= 0.05, plane.kind


def _drift_samples(source, found, axis):
    """By how many samples `found` lies further along an axis than `source`, over its last quarter: least squares."""
    stop = source.shape[axis]
    late = [slice(None)] * 2
    late[axis] = slice(stop * 3 // 4, stop - 1)
    slope = np.gradient(source, axis=axis)[tuple(late)]
    return -((found - source)[tuple(late)] * slope).sum() / (slope**2).sum()


@pytest.mark.parametrize(
    "orientation",
    [Orientation(), Orientation(False, True, True), TURNED, Orientation(True, False, True)],
    ids=["stored", "upside down", "turned", "turned back"],
)
@pytest.mark.parametrize("size", [(320, 180), (319, 179), (317, 178)])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuv411p", "yuv410p", "nv12", "yuyv422"])
def test_chroma_stays_in_its_place_at_odd_sizes(pixel_format, size, orientation):
    """Stretched over one pixel less than its cells have, chroma lies half a sample off at the far edge.

    Waves of 40 pixels, which the interpolation of 4 pixels to a sample flattens but does not move.
    """

    def waves(i, height, width):
        y, x = np.mgrid[:height, :width]
        period_x, period_y = (40 * side / full for side, full in ((width, size[0]), (height, size[1])))
        swing = 40 if i == 0 else 25
        return 128 + swing * np.sin(2 * np.pi * x / period_x) * np.sin(2 * np.pi * y / period_y + i)

    for source, found, plane in _back(_frame(pixel_format, waves, size, orientation=orientation)):
        if plane.kind == "chroma":
            for axis in (0, 1):
                assert abs(_drift_samples(source, found, axis)) <= 0.03, (plane.kind, axis)


@pytest.mark.parametrize("size", [(320, 180), (319, 179)], ids=["even", "odd"])
def test_exact_pictures_are_scaled_without_a_shift_of_colour(size):
    """Half the size: against the means of 2x2 pixels of the exact picture, half a code of rounding and as much again
    for scaling by not exactly 2."""
    frame = _frame("yuv420p", _colourful, size)
    whole = frame.rgb(size[1], size[0], exact=True).astype(float)
    half = frame.rgb(size[1] // 2, size[0] // 2, exact=True)
    means = whole[: size[1] // 2 * 2, : size[0] // 2 * 2].reshape(size[1] // 2, 2, size[0] // 2, 2, 3).mean(axis=(1, 3))
    assert half.shape == means.shape
    assert np.abs((half - means).mean(axis=(0, 1))).max() <= 0.5
    assert np.abs(half - means).max() <= 6


@pytest.mark.parametrize(("scale", "pixel_format"), [(1, "yuv420p"), (2, "yuv420p"), (1, "yuv444p")])
def test_what_is_not_exact_is_what_the_prior_was_trained_with(scale, pixel_format):
    """The same flags as ever: a checksum would change with swscale's version, its dark bias does not."""
    frame = _frame(pixel_format, _colourful, (320, 180))
    rgb, exact = (frame.rgb(180 // scale, 320 // scale, exact=exact).astype(float) for exact in (False, True))
    shift = (rgb - exact).mean()
    assert (shift < -0.8) == (scale == 1 and pixel_format == "yuv420p"), shift


def test_chroma_that_is_sited_left_stays_in_its_place(clean):
    """Decoded H.264 is tagged so. Heeded on the way there and not back, that moves chroma by a quarter of a sample."""
    with closing(read(probe(clean))) as pictures:
        frame = next(pictures)
    for source, found, plane in _back(frame):
        if plane.kind == "chroma":
            assert abs(_drift_samples(source, found, 1)) <= 0.03
