"""Parts of pictures: as small as they may be, copied out and in sample by sample, and nothing else is touched."""

from __future__ import annotations

from contextlib import closing
from fractions import Fraction
from itertools import product

import av
import numpy as np
import pytest

from clear_rt.frames import Frame, probe, read
from clear_rt.frames.layout import pixel_layout
from clear_rt.frames.orientation import Orientation
from clear_rt.frames.scale import Scaler
from clear_rt.frames.views import component_views, plane_rows
from clear_rt.picture_parts import PackedPlanes, crosses, part_of
from clear_rt.shapes import Box

# Width and height differ, and so do 4:2:0, 4:2:2 and 4:4:0 where they are turned.
WIDTH_PX, HEIGHT_PX = 28, 20
FORMATS = [
    "yuv420p", "yuv422p", "yuv440p", "yuv444p", "yuv420p10le", "yuv422p12le", "yuvj420p", "nv12", "nv21", "nv16",
    "p010le", "p210le", "yuyv422", "uyvy422", "yuva420p", "yuva444p10le",
]  # fmt: skip
ORIENTATIONS = [Orientation(*flags) for flags in product((False, True), repeat=3)]
TURNS = [Orientation(), Orientation(False, True, False), Orientation(True, True, False), Orientation(True, True, True)]
# In a picture 20 pixels wide and high, whichever way: inside, one pixel, across a cell's edge, each corner, all.
BOXES = [
    Box(7, 5, 6, 4), Box(6, 5, 1, 1), Box(7, 7, 2, 2), Box(0, 0, 3, 5), Box(15, 0, 5, 1), Box(0, 17, 1, 3),
    Box(17, 13, 3, 7), Box(0, 0, 20, 20),
]  # fmt: skip


def frame_of(pixel_format, orientation=ORIENTATIONS[0], size=(WIDTH_PX, HEIGHT_PX), seed=0):
    """A frame of noise in all of its bits; what pads its rows in memory is noise, too."""
    layout, rng = pixel_layout(pixel_format), np.random.default_rng(seed)
    picture = av.VideoFrame(*size, pixel_format)
    for plane in picture.planes:
        rows = plane_rows(plane)
        rows.flags.writeable = True
        rows[...] = rng.integers(0, 256, rows.shape)
    for view in component_views(picture, layout, writable=True):
        view[...] = rng.integers(0, 2**layout.bits, view.shape).astype(layout.dtype) << layout.shift
    picture.pts, picture.time_base = 0, Fraction(1, 25)
    return Frame(picture, 0, 0, layout, orientation, Scaler())


def colours(frame):
    return [plane for plane in frame.planes if plane.kind != "alpha"]


def reached(start, stop, step, length, margin):
    """First and last cell, one after that, of those with a pixel of start..stop, and `margin` more, in plain loops."""
    cells = [cell for cell in range(length // step) if any(start <= cell * step + i < stop for i in range(step))]
    return max(cells[0] - margin, 0), min(cells[-1] + margin + 1, length // step)


@pytest.mark.parametrize("margin", [0, 1, 2, 50])
@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_a_part_is_the_smallest_of_whole_cells_with_its_margin(pixel_format, orientation, margin):
    frame = frame_of(pixel_format, orientation)
    planes = colours(frame)
    height_px, width_px = planes[0].samples.shape
    for box in [*BOXES, Box(0, 0, width_px, height_px), Box(width_px - 1, height_px - 1, 1, 1)]:
        part = part_of(frame, box, margin)
        across, down = planes[1].step_x_px, planes[1].step_y_px
        left, right = reached(box.x_px, box.right_px, across, width_px, margin)
        top, bottom = reached(box.y_px, box.bottom_px, down, height_px, margin)
        assert part.box == Box(left * across, top * down, (right - left) * across, (bottom - top) * down)
        assert part.box.union(box) == part.box
        for view, plane in zip(part.views, planes, strict=True):
            steps = plane.step_x_px, plane.step_y_px
            rows = slice(part.box.y_px // steps[1], part.box.bottom_px // steps[1])
            columns = slice(part.box.x_px // steps[0], part.box.right_px // steps[0])
            np.testing.assert_array_equal(view, plane.samples[rows, columns])
            assert np.shares_memory(view, plane.samples)


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_packed_samples_follow_each_other_plane_by_plane(pixel_format, orientation):
    """In the picture's own bits, zeros below them included; what lies behind them in the buffer stays."""
    frame = frame_of(pixel_format, orientation)
    for box in BOXES:
        part = part_of(frame, box, 1)
        packed = part.packed
        expected = np.concatenate([np.ravel(view) for view in part.views])
        assert packed.dtype == pixel_layout(pixel_format).dtype == expected.dtype.type
        assert (packed.samples, packed.size_bytes) == (expected.size, expected.nbytes)
        buffer = np.full(packed.size_bytes + 6, 0xA5, np.uint8)
        part.pack(buffer[: packed.size_bytes].view(packed.dtype))
        assert buffer[: packed.size_bytes].tobytes() == expected.tobytes()
        assert (buffer[packed.size_bytes :] == 0xA5).all()
        # A buffer that is longer is as good.
        longer = np.zeros(packed.samples + 5, packed.dtype)
        part.pack(longer)
        np.testing.assert_array_equal(longer, [*expected, 0, 0, 0, 0, 0])


@pytest.mark.parametrize("orientation", ORIENTATIONS)
@pytest.mark.parametrize("pixel_format", FORMATS)
def test_unpacking_changes_the_part_and_not_a_byte_besides(pixel_format, orientation):
    """Neither around it, nor alpha, nor the other half of a buffer that is shared, nor what pads its rows."""
    source, other = frame_of(pixel_format, orientation), frame_of(pixel_format, orientation, seed=1)
    before = [plane_rows(plane).copy() for plane in source.picture.planes]
    for box in BOXES:
        edited = source.edited()
        whole = [plane.samples.copy() for plane in edited.planes]
        buffers = [plane_rows(plane).copy() for plane in edited.picture.planes]
        part, given = part_of(edited, box), part_of(other, box)
        flat = np.zeros(given.packed.samples, given.packed.dtype)
        given.pack(flat)
        part.unpack(flat)
        steps = [(plane.step_x_px, plane.step_y_px) for plane in edited.planes]
        for plane, was, its, (across, down) in zip(edited.planes, whole, other.planes, steps, strict=True):
            if plane.kind != "alpha":
                rows = slice(part.box.y_px // down, part.box.bottom_px // down)
                columns = slice(part.box.x_px // across, part.box.right_px // across)
                was[rows, columns] = its.samples[rows, columns]
            np.testing.assert_array_equal(plane.samples, was)
        again = np.zeros_like(flat)
        part.pack(again)
        np.testing.assert_array_equal(again, flat)
        # The samples put back, every byte of memory is what it was.
        part_of(source, box).pack(flat)
        part.unpack(flat)
        for plane, was in zip(edited.picture.planes, buffers, strict=True):
            np.testing.assert_array_equal(plane_rows(plane), was)
    for plane, was in zip(source.picture.planes, before, strict=True):
        np.testing.assert_array_equal(plane_rows(plane), was)


def test_a_frame_that_is_not_edited_cannot_be_unpacked_into():
    part = part_of(frame_of("yuv420p"), BOXES[0])
    flat = np.zeros(part.packed.samples, np.uint8)
    with pytest.raises(ValueError, match="read-only"):
        part.unpack(flat)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_packed_planes_of_torch_are_those_of_numpy(dtype):
    """Views, so that what is written to them is in the buffer."""
    torch = pytest.importorskip("torch", reason="the device's side is torch: pip install '.[export]'")
    packed = PackedPlanes((4, 6), (2, 3), dtype)
    assert (packed.samples, packed.size_bytes) == (36, 36 * np.dtype(dtype).itemsize)
    flat = np.arange(40, dtype=dtype)
    tensor = torch.from_numpy(flat.copy())
    for found, expected in zip(packed.planes(tensor), packed.planes(flat), strict=True):
        np.testing.assert_array_equal(found.numpy(), expected)
        found.fill_(77)
        expected[...] = 77
    np.testing.assert_array_equal(tensor.numpy(), flat)
    assert (flat == 77).sum() == 36


@pytest.mark.parametrize("pixel_format", FORMATS)
def test_what_kernels_read_crosses_however_it_is_turned(pixel_format):
    for orientation in ORIENTATIONS:
        frame = frame_of(pixel_format, orientation)
        assert crosses(frame)


@pytest.mark.parametrize(
    "pixel_format",
    ["gray", "gray10le", "ya8", "rgb24", "bgr0", "rgba", "gbrp", "gbrap", "gbrp10le", "rgb48le", "yuv411p", "yuv410p"],
)
def test_other_pictures_stay_on_the_host(pixel_format):
    assert not any(crosses(frame_of(pixel_format, orientation)) for orientation in ORIENTATIONS)


@pytest.mark.parametrize("size", [(27, 20), (28, 19), (27, 19), (1, 1), (28, 20)])
@pytest.mark.parametrize(
    ("pixel_format", "across", "down"),
    [("yuv420p", 2, 2), ("nv12", 2, 2), ("p010le", 2, 2), ("yuva420p", 2, 2), ("yuv422p", 2, 1), ("yuv440p", 1, 2),
     ("yuv444p", 1, 1)],
)  # fmt: skip
def test_a_picture_that_ends_within_a_cell_stays_on_the_host(pixel_format, across, down, size):
    """Sizes and cells of the stored picture: shown turned, they begin where it ends."""
    ends_whole = size[0] % across == 0 and size[1] % down == 0
    for orientation in ORIENTATIONS:
        assert crosses(frame_of(pixel_format, orientation, size)) == ends_whole


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_frames_of_a_file_are_packed_as_they_are_shown(subtitled, degrees, tmp_path):
    """Decoded, rotated by the file's own matrix; a caption comes out of the flat samples and goes back into a copy."""
    path = tmp_path / "turned.mp4"
    with closing(read(probe(subtitled))) as pictures, av.open(str(path), "w") as container:
        shown = next(pictures)
        stream = container.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = shown.picture.width, shown.picture.height, "yuv420p"
        stream.set_display_rotation(-degrees)
        shown.picture.pts, shown.picture.time_base = 0, Fraction(1, 25)
        container.mux(stream.encode(shown.picture))
        container.mux(stream.encode(None))
    with closing(read(probe(path))) as pictures:
        frame = next(pictures)
    expected = [np.rot90(plane.samples, -degrees // 90) for plane in shown.planes]
    height_px, width_px = expected[0].shape
    assert crosses(frame)
    for box in (Box(101, 33, 55, 77), Box(width_px - 40, height_px - 31, 40, 31)):
        part = part_of(frame, box, 1)
        flat = np.zeros(part.packed.samples, np.uint8)
        part.pack(flat)
        y, x = part.box.y_px, part.box.x_px
        for i, (plane, whole) in enumerate(zip(part.packed.planes(flat), expected, strict=True)):
            step = 2 if i else 1
            its = whole[y // step : part.box.bottom_px // step, x // step : part.box.right_px // step]
            np.testing.assert_array_equal(plane, its)
        edited = frame.edited()
        part_of(edited, box, 1).unpack(255 - flat)
        changed = [(a.samples != b.samples).sum() for a, b in zip(frame.planes, edited.planes, strict=True)]
        # No number is its own complement.
        assert sum(changed) == part.packed.samples
