"""Changed samples, counted in the files' own planes and compared with a count over single samples."""

from fractions import Fraction

import av
import numpy as np
import pytest

from clear_rt import frames
from clear_rt.metrics.changes import ChangesSum, _covered

WIDTH_PX, HEIGHT_PX = 21, 19


@pytest.fixture
def write(tmp_path):
    """Function (name, pixel format, planes) -> the only frame of a lossless video of these planes."""

    def written(name, pixel_format, planes):
        path = tmp_path / f"{name}.mkv"
        with av.open(path, "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, pixel_format
            picture = av.VideoFrame(WIDTH_PX, HEIGHT_PX, pixel_format)
            for plane, samples in zip(picture.planes, planes, strict=True):
                rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
                rows = rows.view(samples.dtype)
                rows[: samples.shape[0], : samples.shape[1]] = samples
            picture.pts, picture.time_base = 0, Fraction(1, 25)
            container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        return next(frames.read(path))

    return written


def planes_of(steps, dtype, top):
    random = np.random.default_rng(0)
    shapes = [(-(-HEIGHT_PX // y), -(-WIDTH_PX // x)) for y, x in ((1, 1), steps, steps)]
    return [random.integers(16, top, shape).astype(dtype) for shape in shapes]


def added(source, result, mask):
    total = ChangesSum()
    total.add(source, result, *(frame.rgb(HEIGHT_PX, WIDTH_PX) for frame in (source, result)), mask)
    return total.result()


@pytest.mark.parametrize(
    ("pixel_format", "steps", "dtype", "top"),
    [
        ("yuv420p", (2, 2), np.uint8, 235),
        ("yuv422p", (1, 2), np.uint8, 235),
        ("yuv444p", (1, 1), np.uint8, 235),
        ("yuv420p10le", (2, 2), np.uint16, 940),
    ],
)
def test_samples_are_counted_in_every_plane(write, pixel_format, steps, dtype, top):
    before = planes_of(steps, dtype, top)
    after = [plane.copy() for plane in before]
    after[0][3, 4], after[0][18, 20], after[1][-1, -1], after[2][1, 1] = 17, 17, 17, 17
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
    mask[3, 4] = mask[steps[0], steps[1]] = True
    found = added(write("s", pixel_format, before), write("r", pixel_format, after), mask)
    changed = [a != b for a, b in zip(before, after, strict=True)]
    outside = [np.ones(plane.shape, bool) for plane in before]
    for plane, (step_y, step_x) in zip(outside, ((1, 1), steps, steps), strict=True):
        for y, x in np.argwhere(mask):
            plane[y // step_y, x // step_x] = False
    total, total_outside = sum(plane.size for plane in before), sum(int(plane.sum()) for plane in outside)
    assert found.samples == sum(int(plane.sum()) for plane in changed) / total
    in_both = sum(int((a & b).sum()) for a, b in zip(changed, outside, strict=True))
    assert 0 < found.samples_outside == in_both / total_outside < found.samples


def test_nothing_changed_is_nothing(write):
    planes = planes_of((2, 2), np.uint8, 235)
    one, other = write("s", "yuv420p", planes), write("r", "yuv420p", planes)
    found = added(one, other, np.zeros((HEIGHT_PX, WIDTH_PX), bool))
    assert (found.samples, found.samples_outside, found.outside_db, found.pixels_outside) == (0.0, 0.0, np.inf, 0)
    everywhere = added(one, other, np.ones((HEIGHT_PX, WIDTH_PX), bool))
    assert (everywhere.samples, everywhere.samples_outside, everywhere.outside_db) == (0.0, None, None)


def test_other_layouts_and_depths_are_not_compared(write):
    eight = write("8", "yuv420p", planes_of((2, 2), np.uint8, 235))
    ten = write("10", "yuv420p10le", planes_of((2, 2), np.uint16, 940))
    full = write("444", "yuv444p", planes_of((1, 1), np.uint8, 235))
    mask = np.zeros((HEIGHT_PX, WIDTH_PX), bool)
    for other in (ten, full):
        found = added(eight, other, mask)
        assert (found.samples, found.samples_outside) == (None, None)
        assert found.outside_db is not None


@pytest.mark.parametrize(("step_y_px", "step_x_px"), [(1, 1), (2, 2), (1, 4), (4, 1)])
def test_a_sample_is_inside_where_one_of_its_pixels_is(step_y_px, step_x_px):
    mask = np.random.default_rng(1).random((9, 11)) < 0.1
    covered = _covered(mask, step_y_px, step_x_px)
    for y, x in np.ndindex(covered.shape):
        cell = mask[y * step_y_px : (y + 1) * step_y_px, x * step_x_px : (x + 1) * step_x_px]
        assert covered[y, x] == cell.any()
