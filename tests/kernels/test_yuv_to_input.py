"""Planes to the model's input against the formula in float64, and against the RGB that the CPU path makes of video."""

from itertools import product

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.colour import LUMA_WEIGHTS, input_matrix, output_matrix  # noqa: E402
from clear_rt.kernels.planes import values_ref  # noqa: E402
from clear_rt.kernels.yuv_to_input import yuv_to_input, yuv_to_input_ref  # noqa: E402
from clear_rt.shapes import Box, Size  # noqa: E402

# Half a unit in the last place of what is at most 1.
HALF_ULP = {torch.float32: 2.0**-25, torch.float16: 2.0**-12, torch.bfloat16: 2.0**-9}
STEPS = ((1, 1), (2, 1), (1, 2), (2, 2))


def assert_rounded(found, exact):
    """But for the rounding of the result and of fp32 sums: 6 roundings of terms that together are below 8."""
    tolerance = HALF_ULP[found.dtype] * exact.abs() * 2 + 6 * 2.0**-24 * 8
    assert ((found.double() - exact).abs() <= tolerance).all()


def picture(device, width, height, steps=(2, 2), bits=8, shift=0, interleaved=False):
    """Random planes, surrounded by samples of 255 that no kernel may read (they would show as an odd colour)."""
    draw = torch.Generator().manual_seed(width + 100 * height + bits)
    dtype = torch.uint8 if bits == 8 else torch.int16

    def plane(h, w, channels):
        samples = torch.randint(0, 2**bits, (h, w, channels), generator=draw) << shift
        padded = torch.full((h + 2, w + 3, channels), -1, dtype=torch.int32)
        padded[1:-1, 1:-2] = samples
        return padded.to(dtype).to(device)[1:-1, 1:-2]

    size = -(-height // steps[1]), -(-width // steps[0])
    chroma = [plane(*size, 2)] * 2 if interleaved else [plane(*size, 1) for _ in range(2)]
    cb, cr = (plane[..., i * interleaved] for i, plane in enumerate(chroma))
    return plane(height, width, 1)[..., 0], cb, cr


def matrix_of(device, bits=8, full_range=False, name="bt709"):
    return input_matrix(bits, full_range, name).to(device, torch.float32)


@pytest.mark.parametrize("dtype", HALF_ULP)
@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (2, 9), (64, 3)])
def test_it_is_its_formula_within_the_picture_and_beyond(device, size, steps, dtype):
    planes, matrix = picture(device, *size, steps), matrix_of(device)
    for crop in ((0, 0, size[1], size[0]), (size[0] - 1, size[1] // 2, 6, 9), (-3, -2, 4, 4), (50, 60, 1, 1)):
        found = yuv_to_input(*planes, matrix, *crop, dtype)
        assert found.dtype == dtype
        assert_rounded(found, yuv_to_input_ref(*planes, matrix.double(), *crop))


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize(("bits", "shift"), [(8, 0), (10, 0), (10, 6), (12, 4), (16, 0)])
def test_every_depth_is_read_planar_and_interleaved(device, bits, shift, interleaved):
    planes = picture(device, 37, 11, bits=bits, shift=shift, interleaved=interleaved)
    matrix = matrix_of(device, bits + shift)
    exact = yuv_to_input_ref(*planes, matrix.double(), 3, 1, 12, 40)
    assert_rounded(yuv_to_input(*planes, matrix, 3, 1, 12, 40, torch.float32), exact)
    if bits > 8:
        unsigned = [plane.view(torch.uint16) for plane in planes]
        assert_rounded(yuv_to_input(*unsigned, matrix, 3, 1, 12, 40, torch.float32), exact)


def test_a_wide_crop_takes_several_programs(device):
    planes, matrix = picture(device, 1100, 2), matrix_of(device)
    exact = yuv_to_input_ref(*planes, matrix.double(), 0, 0, 2, 1300)
    assert_rounded(yuv_to_input(*planes, matrix, 0, 0, 2, 1300, torch.float32), exact)


@pytest.mark.parametrize(("bits", "full_range", "name"), [*product((8, 10), (False, True), LUMA_WEIGHTS)])
def test_black_white_and_grey_are_what_their_codes_say(bits, full_range, name):
    black, white = (0, 255) if full_range else (16, 235)
    codes = torch.tensor([[black, 128, 128], [white, 128, 128], [(black + white) / 2, 128, 128]], dtype=torch.float64)
    codes = torch.cat((codes * 2 ** (bits - 8), torch.ones(3, 1)), 1)
    expected = torch.tensor([[-1.0] * 3, [1.0] * 3, [0.0] * 3], dtype=torch.float64)
    torch.testing.assert_close(codes @ input_matrix(bits, full_range, name).T, expected)
    there = torch.cat((output_matrix(bits, full_range, name), torch.tensor([[0.0, 0, 0, 1]])))
    back = torch.cat((input_matrix(bits, full_range, name), torch.tensor([[0.0, 0, 0, 1]])))
    torch.testing.assert_close(there @ back, torch.eye(4, dtype=torch.float64))


def test_primaries_reach_the_ends_of_chroma():
    """H.273: blue has the largest Cb, red the largest Cr, 112 codes of 8 bits from the middle."""
    for name in LUMA_WEIGHTS:
        matrix = output_matrix(8, False, name)
        blue, red = (torch.tensor([*rgb, 1.0], dtype=torch.float64) for rgb in ((-1, -1, 1), (1, -1, -1)))
        assert (matrix @ blue)[1] == pytest.approx(240)
        assert (matrix @ red)[2] == pytest.approx(240)
    with pytest.raises(ValueError, match=r"expected a matrix of bt709, .*, got ycgco"):
        output_matrix(8, False, "ycgco")


def assert_of_cpu_path(found, rgb):
    """Within the half level by which that is rounded, and 0.02 for the integer coefficients of swscale."""
    difference = found.cpu() * 127.5 + 127.5 - torch.from_numpy(rgb).permute(2, 0, 1)
    assert difference.abs().max() <= 0.52
    assert difference.mean().abs() <= 0.05


def test_of_real_video_it_is_what_the_cpu_path_shows_its_engines(device, subtitled):
    frames = pytest.importorskip("clear_rt.frames", reason="the comparison needs PyAV")
    frame = next(iter(frames.read(frames.probe(subtitled))))
    planes = [torch.from_numpy(plane.samples.copy()).to(device) for plane in frame.planes]
    height, width = planes[0].shape
    # 404 rows and no tag: BT.601, as `frames.scale` assumes.
    matrix = matrix_of(device, name="bt601")
    found = yuv_to_input(*planes, matrix, 300, height - 60, 60, width - 300, torch.float32)
    assert_of_cpu_path(found, frame.rgb(height, width, exact=True)[-60:, 300:])


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p", "yuv440p", "yuv444p", "nv12", "yuv420p10le", "p010le"])
def test_of_every_layout_and_odd_sizes_it_is_the_padded_crop_of_the_cpu_path(device, pixel_format):
    pytest.importorskip("av", reason="the comparison needs PyAV")
    from clear_rt.crops import Placement
    from tests.kernels.wave_frame import planes_of, wave_frame

    frame = wave_frame(pixel_format, 61, 33)
    box, picture = Box(0, 9, 61, 24), Size(61, 33)
    crop = Placement(picture, box, picture, box, Size(64, 32)).cut(frame.rgb(33, 61, exact=True))
    bits = frame.planes[0].bits + frame.planes[0].shift
    assert_of_cpu_path(
        yuv_to_input(*planes_of(frame, device), matrix_of(device, bits), 0, 9, 32, 64, torch.float32), crop
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda p, m: ([p[0].float(), *p[1:]], m), "expected luma of uint8 or uint16 or int16, got float32"),
        (lambda p, m: ([p[0], p[1].short(), p[2]], m), "expected cb of uint8, got int16"),
        (lambda p, m: ([p[0], p[1][:, :2], p[2][:, :2]], m), r"expected cb of luma's size 6 x 9, or half .* \[3, 2\]"),
        (lambda p, m: ([p[0], p[1], p[2][:2]], m), r"expected cr \[h = 3, w = 5\], got \[2, 5\]"),
        (lambda p, m: ([p[0], p[1].clone(), p[2]], m), "expected cb and cr of equal strides"),
        (lambda p, m: ([p[0].T, *p[1:]], m), "stride 1 along axis W"),
        (lambda p, m: (p, m[:, :3]), r"expected matrix \[3, 4\]"),
        (lambda p, m: (p, m.double()), "expected matrix of float32, got float64"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(device, change, said):
    planes, matrix = change(picture(device, 9, 6), matrix_of(device))
    with pytest.raises(ValueError, match=said):
        yuv_to_input(*planes, matrix, 0, 0, 4, 4, torch.float32)


@pytest.mark.parametrize(("height", "dtype"), [(0, torch.float32), (4, torch.uint8)])
def test_what_is_asked_for_has_to_be_a_picture_of_floats(device, height, dtype):
    with pytest.raises(ValueError, match="expected a float and a size of 1 pixel or more"):
        yuv_to_input(*picture(device, 9, 6), matrix_of(device), 0, 0, height, 4, dtype)


def test_the_op_is_complete_for_compile_and_export(device):
    planes, matrix = picture(device, 9, 6), matrix_of(device)
    arguments = (*planes, matrix, 1, 2, 8, 8, torch.bfloat16)
    torch.library.opcheck(yuv_to_input, arguments, test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Crop(), (*planes, matrix))
    torch.testing.assert_close(exported.module()(*planes, matrix), Crop()(*planes, matrix))


class Crop(torch.nn.Module):
    def forward(self, luma, cb, cr, matrix):
        return yuv_to_input(luma, cb, cr, matrix, 1, 2, 8, 8, torch.float32)


@pytest.mark.gpu
def test_of_a_whole_4k_frame_it_is_its_formula(device):
    planes, matrix = picture(device, 3840, 2160, bits=10, shift=6, interleaved=True), matrix_of(device, 16)
    crop = (0, 0, 2160, 3840)
    assert_rounded(
        yuv_to_input(*planes, matrix, *crop, torch.bfloat16), yuv_to_input_ref(*planes, matrix.double(), *crop)
    )


def test_int16_is_read_by_its_bits():
    assert values_ref(torch.tensor([-64], dtype=torch.int16), torch.float32) == 0xFFC0
