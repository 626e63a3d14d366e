"""Generated RGB in a picture's planes: against the formula in float64, the CPU path, and what stays untouched."""

from itertools import product

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

import clear_rt.composite  # noqa: E402
from clear_rt.config import CompositeConfig  # noqa: E402
from clear_rt.kernels.colour import output_matrix  # noqa: E402
from clear_rt.kernels.composite import HOLE_ALPHA, MODES, composite, composite_ref  # noqa: E402
from clear_rt.shapes import Box  # noqa: E402

STEPS = ((1, 1), (2, 1), (1, 2), (2, 2))
DEPTHS = ((8, 0), (10, 0), (10, 6), (16, 0))
# In a picture of 33 x 21: inside, one pixel, each corner, the whole.
BOXES = (Box(5, 3, 14, 9), Box(6, 7, 1, 1), Box(0, 0, 9, 5), Box(20, 14, 13, 7), Box(0, 0, 33, 21))
ALPHAS = (0, 0, 1, HOLE_ALPHA - 1, HOLE_ALPHA, 255)


class Case:
    """A random picture of 33 x 21 with random content and alpha for a box, on the device of the tests."""

    def __init__(self, device, box=BOXES[0], steps=(2, 2), depth=(8, 0), dtype=torch.float32, interleaved=False):
        self.random = torch.Generator().manual_seed(0)
        self.bits, self.shift = depth
        self.device, self.box = device, box
        luma = self._plane(21, 33, 1)
        size = -(-21 // steps[1]), -(-33 // steps[0])
        chroma = [self._plane(*size, 2)] * 2 if interleaved else [self._plane(*size, 1) for _ in range(2)]
        self.planes = [luma[..., 0], *(plane[..., i * interleaved] for i, plane in enumerate(chroma))]
        shape = box.height_px, box.width_px
        # Beyond -1..1, where a decoder may end up.
        self.generated = (torch.rand(3, *shape, generator=self.random) * 2.4 - 1.2).to(device, dtype)
        self.alpha = torch.tensor(ALPHAS, dtype=torch.uint8)[torch.randint(6, shape, generator=self.random)].to(device)
        self.matrix = output_matrix(self.bits, False, "bt709").to(device, torch.float32)

    def _plane(self, height, width, channels):
        samples = torch.randint(0, 2**self.bits, (height, width, channels), generator=self.random) << self.shift
        return samples.to(torch.uint8 if self.bits == 8 else torch.int16).to(self.device)

    def rest(self, mode):
        return self.box.x_px, self.box.y_px, self.bits, self.shift, mode

    def expected(self, mode):
        return composite_ref(*self.planes, self.generated, self.alpha, self.matrix.double(), *self.rest(mode))

    def done(self, mode):
        planes = [plane.clone() for plane in self.planes]
        composite(*planes, self.generated, self.alpha, self.matrix, *self.rest(mode))
        return planes


def codes(plane, shift):
    return (plane.to(torch.int32) & 0xFFFF) >> shift


def assert_close_in_codes(found, expected, shift):
    """Equal but where the value is on the verge of two codes: sums in fp32 are off by 8 roundings of the largest."""
    for of_found, of_expected in zip(found, expected, strict=True):
        difference = (codes(of_found, shift) - codes(of_expected, shift)).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() <= 0.01
        assert not (of_found & ((1 << shift) - 1)).any()


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("box", BOXES)
def test_it_is_its_formula(device, box, steps):
    case = Case(device, box, steps)
    modes = MODES if box == BOXES[0] or steps == (2, 2) else ("paste", "off")
    for mode in modes:
        assert_close_in_codes(case.done(mode), case.expected(mode), 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("depth", DEPTHS)
def test_every_depth(device, depth, mode):
    case = Case(device, depth=depth)
    assert_close_in_codes(case.done(mode), case.expected(mode), case.shift)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_every_float(device, dtype):
    case = Case(device, dtype=dtype)
    assert_close_in_codes(case.done("paste"), case.expected("paste"), 0)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("steps", [(1, 1), (2, 2)])
def test_what_the_matte_leaves_out_keeps_every_bit(device, steps, mode):
    """Also what is below the shift, and the other half of an interleaved plane; chroma changes a sample further."""
    case = Case(device, steps=steps, depth=(10, 6), interleaved=True)
    case.alpha[:, 4:] = 0
    for plane in case.planes:
        plane |= 37
    x_px, y_px, width_px, height_px = case.box.x_px, case.box.y_px, 4, case.box.height_px
    if mode == "off":
        width_px = case.box.width_px
    for i, (plane, done) in enumerate(zip(case.planes, case.done(mode), strict=True)):
        across, down = steps if i else (1, 1)
        further = 1 if i and mode != "off" else 0
        rows = slice(max(y_px // down - further, y_px // down), -(-(y_px + height_px) // down))
        columns = slice(x_px // across, -(-(x_px + width_px) // across) + further)
        changed = plane != done
        assert changed[rows, columns].any()
        changed[rows, columns] = False
        assert not changed.any()
        if not i and mode != "off":
            least = HOLE_ALPHA if mode == "membrane" else 1
            assert torch.equal(plane[case.box.slices][case.alpha < least], done[case.box.slices][case.alpha < least])


def test_planes_of_one_buffer_are_written_where_they_lie(device):
    case = Case(device, depth=(10, 6), interleaved=True)
    buffer = torch.stack(case.planes[1:], 2)
    pitched = torch.nn.functional.pad(case.planes[0], (0, 15))
    luma = pitched[:, :33]
    composite(luma, buffer[..., 0], buffer[..., 1], case.generated, case.alpha, case.matrix, *case.rest("paste"))
    for found, expected in zip((luma, buffer[..., 0], buffer[..., 1]), case.done("paste"), strict=True):
        assert torch.equal(found, expected)
    assert not pitched[:, 33:].any()


def test_uint16_is_int16_by_another_name(device):
    case = Case(device, depth=(16, 0))
    planes = [plane.clone().view(torch.uint16) for plane in case.planes]
    composite(*planes, case.generated, case.alpha, case.matrix, *case.rest("paste"))
    for found, expected in zip(planes, case.done("paste"), strict=True):
        assert torch.equal(found.view(torch.int16), expected)


def test_content_and_alpha_may_be_views_into_larger_ones(device):
    case = Case(device)
    crop = torch.full((3, 2, 16, 24), torch.nan, device=device)
    crop[:, 1, :9, :14] = case.generated
    matte = torch.full((12, 20), 255, dtype=torch.uint8, device=device)
    matte[:9, :14] = case.alpha
    expected = case.done("paste")
    case.generated, case.alpha = crop[:, 1, :9, :14], matte[:9, :14]
    for found, exact in zip(case.done("paste"), expected, strict=True):
        assert torch.equal(found, exact)


def test_nan_where_the_matte_is_zero_does_not_reach_the_picture(device):
    """Right of the matte and of the chroma sample that it spreads to. The field is unknown there, and filled."""
    case = Case(device)
    case.alpha[:, 6:] = 0
    clean = case.done("paste")
    case.generated[:, :, 10:] = torch.nan
    for found, expected in zip(case.done("paste"), clean, strict=True):
        assert torch.equal(found, expected)
    found = case.done("membrane")
    assert_close_in_codes(found, case.expected("membrane"), 0)
    assert (case.planes[0] == found[0])[:, 11:].all()


@pytest.mark.parametrize("mode", MODES)
def test_nan_under_the_matte_leaves_the_sample(device, mode):
    case = Case(device, steps=(1, 1))
    case.alpha[:] = 255
    case.generated[1, 2:4, 3] = torch.nan
    for plane, found in zip(case.planes, case.done(mode), strict=True):
        kept = (plane == found)[case.box.slices]
        assert kept[2:4, 3].all()
        assert kept.float().mean() < 0.1


def test_content_at_another_level_is_moved_to_meet_the_source(device):
    """A picture of slow waves, text of white in it, and content 17 codes of luma too dark: half a code of rounding, and
    another for the waves that the field does not have."""
    case = Case(device, Box(0, 0, 33, 21), (1, 1))
    y, x = torch.meshgrid(torch.arange(21.0), torch.arange(33.0), indexing="ij")
    waves = 110 + 40 * torch.sin(x / 6) + y
    back = torch.linalg.inv(case.matrix[:, :3].double().cpu())
    ycc = torch.stack((waves - 17, torch.full_like(x, 120), torch.full_like(x, 130))).double()
    case.generated = torch.einsum("cp,pyx->cyx", back, ycc - case.matrix[:, 3, None, None].cpu()).float().to(device)
    case.planes = [plane.round().to(torch.uint8).to(device) for plane in (waves, ycc[1] + 5, ycc[2])]
    case.alpha[:] = 0
    case.alpha[6:15, 5:28] = 255
    case.planes[0][6:15, 5:28] = 255
    luma, cb, cr = case.done("membrane")
    assert (luma.float().cpu() - waves).abs().max() <= 1.0
    assert (cb == 125).all()
    assert (cr == 130).all()


def test_the_hole_begins_where_that_of_the_cpu_path_does():
    assert HOLE_ALPHA == clear_rt.composite.HOLE_ALPHA


@pytest.mark.parametrize(
    ("pixel_format", "mode"),
    [*product(("yuv420p", "yuv422p10le", "nv12"), ("paste", "off")), *product(("yuv444p", "p010le"), MODES)],
)
def test_it_does_what_the_cpu_path_does(device, pixel_format, mode):
    """Other waves and noise as content. But for mode membrane only the order of sums differs, which tells on the verge
    of two codes.

    There the CPU's field is within 0.4 codes of 8 bits of the harmonic one (`membrane.fill`), and this one comes near
    it: measured 2 codes at most, for the matte is noise, and 0.24 rms.
    """
    pytest.importorskip("av", reason="the CPU path reads frames with PyAV")
    from tests.kernels.wave_frame import planes_of, wave_frame

    frame, box, random = wave_frame(pixel_format, 70, 47), Box(9, 12, 52, 29), np.random.default_rng(0)
    content = 127 + 60 * np.sin(np.mgrid[:29, :52][1][..., None] / 9 + np.arange(3)) + random.normal(0, 2, (29, 52, 3))
    content = content.astype(np.float32)
    matte = np.zeros((47, 70), np.uint8)
    matte[17:33, 14:52] = random.choice(np.array(ALPHAS, np.uint8), (16, 38))
    matte[20:30, 20:40] = 255
    config = CompositeConfig(mode=mode, fill="model")
    expected = clear_rt.composite.paste(frame, box, matte, config, frame.samples_of(content, box))
    bits, shift = frame.planes[0].bits, frame.planes[0].shift
    planes = planes_of(frame, device)
    generated = torch.from_numpy(content / 127.5 - 1).permute(2, 0, 1).contiguous().to(device)
    alpha = torch.from_numpy(matte[box.slices].copy()).to(device)
    matrix = output_matrix(bits, False, "bt709").to(device, torch.float32)
    composite(*planes, generated, alpha, matrix, box.x_px, box.y_px, bits, shift, mode)
    for found, exact in zip(planes, planes_of(expected, device), strict=True):
        difference = (codes(found, shift) - codes(exact, shift)).abs()
        if mode == "membrane":
            assert difference.max() <= 2 * 2 ** (bits - 8)
            assert difference.float().square().mean().sqrt() <= 0.3 * 2 ** (bits - 8)
        else:
            assert difference.max() <= 1
            assert (difference > 0).float().mean() <= 0.002


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"generated": lambda t: t[:2]}, r"expected generated \[3, rows, columns\], got \[2, 9, 14\]"),
        ({"alpha": lambda t: t[1:]}, r"expected alpha \[rows = 9, columns = 14\], got \[8, 14\]"),
        ({"alpha": lambda t: t.float()}, "expected alpha of uint8, got float32"),
        ({"generated": lambda t: t.transpose(1, 2).contiguous().transpose(1, 2)}, "stride 1 along axis columns"),
        ({"matrix": lambda t: t.double()}, "expected matrix of float32, got float64"),
        ({"box": lambda b: Box(20, 3, 14, 9)}, "expected a box inside the picture"),
        ({"box": lambda b: Box(-1, 3, 14, 9)}, "expected a box inside the picture"),
        ({"bits": lambda b: 10}, "expected 8 bits or more and a shift that fit torch.uint8, got 10 and 0"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(device, change, said):
    case = Case(device)
    for name, changed in change.items():
        setattr(case, name, changed(getattr(case, name)))
    with pytest.raises(ValueError, match=said):
        case.done("paste")


def test_an_unknown_mode_is_refused(device):
    with pytest.raises(ValueError, match="expected mode membrane, paste, off, got blend"):
        Case(device).done("blend")


def test_the_op_is_complete_for_compile_and_export(device):
    case = Case(device)
    inputs = (*case.planes, case.generated, case.alpha, case.matrix)
    torch.library.opcheck(composite, (*inputs, *case.rest("membrane")), test_utils=("test_schema", "test_faketensor"))
    exported = torch.export.export(Pasted(), inputs)
    for found, expected in zip(exported.module()(*inputs), case.done("paste"), strict=True):
        assert torch.equal(found, expected)


class Pasted(torch.nn.Module):
    def forward(self, luma, cb, cr, generated, alpha, matrix):
        planes = luma.clone(), cb.clone(), cr.clone()
        composite(*planes, generated, alpha, matrix, 5, 3, 8, 0, "paste")
        return planes


@pytest.mark.gpu
@pytest.mark.parametrize("mode", MODES)
def test_of_a_region_of_a_4k_frame_it_is_its_formula_and_can_be_captured(device, mode):
    random = torch.Generator(device).manual_seed(0)

    def integers(limit, *shape):
        return torch.randint(0, limit, shape, generator=random, device=device)

    luma, chroma = ((integers(1024, *shape) << 6).to(torch.int16) for shape in ((2160, 3840), (1080, 1920, 2)))
    generated = (torch.rand(3, 401, 3001, generator=random, device=device) * 2 - 1).to(torch.bfloat16)
    alpha = torch.tensor(ALPHAS, dtype=torch.uint8, device=device)[integers(6, 401, 3001)]
    matrix = output_matrix(10, False, "bt2020nc").to(device, torch.float32)
    rest = (generated, alpha, matrix, 417, 1701, 10, 6, mode)
    planes = luma, chroma[..., 0], chroma[..., 1]
    expected = composite_ref(*planes, generated, alpha, matrix.double(), *rest[3:])
    source = luma.clone(), chroma.clone()
    composite(*planes, *rest)
    assert_close_in_codes(planes, expected, 6)
    first = [plane.clone() for plane in planes]
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        composite(*planes, *rest)
    luma.copy_(source[0])
    chroma.copy_(source[1])
    graph.replay()
    assert all(torch.equal(plane, once) for plane, once in zip(planes, first, strict=True))
