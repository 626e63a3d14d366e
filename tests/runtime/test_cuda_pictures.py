"""Pictures on the device's side against those of the host: what engines are shown, and what comes back into frames."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from itertools import product

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the device's side is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.colour import code_matrix  # noqa: E402
from clear_rt.composite import HOLE_ALPHA  # noqa: E402
from clear_rt.config import CompositeConfig  # noqa: E402
from clear_rt.crops import place  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.frames import Frame, probe, read  # noqa: E402
from clear_rt.frames.layout import pixel_layout  # noqa: E402
from clear_rt.frames.orientation import Orientation  # noqa: E402
from clear_rt.frames.scale import Scaler  # noqa: E402
from clear_rt.frames.views import component_views  # noqa: E402
from clear_rt.kernels.pull_push import CORRECTIONS, pull_push_ref  # noqa: E402
from clear_rt.latents import picture_of  # noqa: E402
from clear_rt.matte_planes import alpha_for, luma_alpha  # noqa: E402
from clear_rt.models.baked import BakedConfig, BakedDit  # noqa: E402
from clear_rt.models.dit_config import DitConfig  # noqa: E402
from clear_rt.models.vae import Vae  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.vae_step import DecoderStep, EncoderStep  # noqa: E402
from clear_rt.pictures import HostPictures  # noqa: E402
from clear_rt.runtime.cuda.graphs import Graphs  # noqa: E402
from clear_rt.runtime.cuda.picture_ops import KernelPictureOps, TorchPictureOps  # noqa: E402
from clear_rt.runtime.cuda.pictures import DevicePictures  # noqa: E402
from clear_rt.runtime.cuda.side import DeviceSide  # noqa: E402
from clear_rt.shapes import Box, Size, plane_box  # noqa: E402

SIZE = Size(60, 44)
# Inside, not on whole cells; each corner; as wide, as high and as large as the picture, where crops are padded.
TARGETS = [
    Box(9, 11, 31, 13), Box(0, 0, 7, 5), Box(47, 0, 13, 6), Box(0, 37, 9, 7), Box(43, 31, 17, 13), Box(0, 13, 60, 17),
    Box(21, 0, 15, 44), Box(0, 0, 60, 44),
]  # fmt: skip
# swscale's names: matrices BT.601, 709 and 2020, limited and full range.
MATRICES, RANGES = (5, 1, 9), (1, 2)
FILE_FORMATS = ["yuv420p", "yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "yuv444p10le", "yuva420p"]
MEMORY_FORMATS = ["nv12", "p010le", "yuv440p", "yuyv422", "yuv420p12le"]
TURNS = [Orientation(True, True, False), Orientation(False, True, True), Orientation(True, False, False)]
MODES = ("membrane", "paste", "off")
HOST = HostPictures()
_LIMITS = ((16, 235), (16, 240), (16, 240))


@pytest.fixture(autouse=True)
def one_thread():
    """Of torch's own: for pictures as small as these, several of them mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def pictures(request):
    """By the references on the CPU, by the kernels on a GPU; in float32, so that only the order of sums differs."""
    device = torch.device(request.param)
    ops = TorchPictureOps() if request.param == "cpu" else KernelPictureOps()
    return DevicePictures(torch.empty(0, device=device), ops, Graphs(device))


def noise(pixel_format, size=SIZE, seed=0, matrix=1, range_=1):
    """A picture of noise over waves, which reach many colours that RGB lacks.

    Codes of limited range end where H.273 has them: swscale's 30 bits hold no more than 511 levels, and of codes of 255
    in luma and Cb it makes a blue of 0.
    """
    limits = (*_LIMITS, (0, 255)) if range_ == 1 else [(0, 255)] * 4
    layout, rng = pixel_layout(pixel_format), np.random.default_rng(seed)
    picture = av.VideoFrame(*size, pixel_format)
    for i, view in enumerate(component_views(picture, layout, writable=True)):
        y, x = np.mgrid[: view.shape[0], : view.shape[1]]
        values = 127.5 + 90 * np.sin(x / 5 + i + 0.3 * y) + rng.normal(0, 40, view.shape)
        values = np.rint(np.clip(values, *limits[i]) * 2.0 ** (layout.bits - 8))
        view[...] = values.astype(layout.dtype) << layout.shift
    picture.pts, picture.time_base = seed, Fraction(1, 25)
    picture.colorspace, picture.color_range = matrix, range_
    return picture


def held(picture, orientation=None, index=0):
    return Frame(picture, index, 0, pixel_layout(picture.format.name), orientation or Orientation(), Scaler())


@pytest.fixture
def decoded(tmp_path):
    """decoded(pixel format, count, **options of `noise`) -> the frames of a file in FFV1."""

    def make(pixel_format, count=1, **options):
        path = tmp_path / f"{pixel_format}-{len([*tmp_path.iterdir()])}.mkv"
        made = [noise(pixel_format, seed=seed, **options) for seed in range(count)]
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=25)
            stream.width, stream.height, stream.pix_fmt = made[0].width, made[0].height, pixel_format
            stream.codec_context.colorspace, stream.codec_context.color_range = made[0].colorspace, made[0].color_range
            for picture in made:
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
        with closing(read(probe(path))) as found:
            frames = list(found)
        assert [frame.picture.format.name for frame in frames] == [pixel_format] * count
        for mine, its in zip(made, frames, strict=True):
            assert held(mine).codes == its.codes
        return frames

    return make


def size_of(frame):
    height_px, width_px = frame.planes[0].samples.shape
    return Size(width_px, height_px)


def placements_in(frame, targets=TARGETS):
    """Crops in multiples of 16, and in a profile beyond the picture's right and lower edge."""
    size = size_of(frame)
    for target in targets:
        inside = target.clipped(size) or Box(5, 7, 12, 9)
        for placed in (place(inside, size, 16, 1 << 20, ()), place(inside, size, 16, 1 << 20, [Size(96, 80)])):
            assert not placed.is_scaled
            yield placed


def host_copy(shown):
    return shown.float().cpu().numpy()


# The host's RGB is rounded: half a level. swscale's own arithmetic before, in levels: chroma between samples is cut at
# 2**-7 and rounded at 2**-10 of a code, of which B takes 2.15, the most; luma is rounded at 2**-10, of which all take
# 1.17; coefficients are rounded at 2**-14, of 240 codes of luma, and of 128 of chroma twice in G. For B that is
# 2.15 (2**-7 + 2**-10) + 1.17 * 2**-10 + 368 * 2**-14 = 0.043; for G 1.2 (2**-7 + 2**-10) + 1.17 * 2**-10 +
# 496 * 2**-14 = 0.042. Its matrices are given to 16 bits: 384 * 2**-17 = 0.003. Ours, in float32: 0.001.
SHOWN_LEVELS = 0.5 + 0.047


def assert_shown_alike(pictures, frames, placement, *, is_noise=True):
    """And the host did not do both. Of noise rounding errors are even about 0, but for half of what swscale cuts."""
    given = [HOST.cut(frame, None, {0: placement})[0] for frame in frames]
    expected = HOST.shown(given)
    cut = [pictures.cut(frame, None, {0: placement})[0] for frame in frames]
    assert not any(isinstance(crop, np.ndarray) for crop in cut)
    shown = pictures.shown(cut)
    assert (shown.dtype, shown.is_contiguous(), tuple(shown.shape)) == (torch.float32, True, expected.shape)
    assert expected.shape == (3, len(frames), placement.profile.height_px, placement.profile.width_px)
    difference = host_copy(shown).astype(np.float64) - expected
    assert np.abs(difference).max() * 127.5 <= SHOWN_LEVELS
    if is_noise:
        inside = difference[:, :, : placement.box.height_px, : placement.box.width_px]
        # Six times what the mean of errors of 1 / sqrt(12) of a level strays, as if one channel told nothing of others.
        stray = 6 / np.sqrt(12 * inside[0].size)
        assert abs(inside.mean()) * 127.5 <= 2.15 * 2.0**-8 + stray
    return host_copy(shown)


@pytest.mark.parametrize("range_", RANGES, ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES, ids=["601", "709", "2020"])
@pytest.mark.parametrize("pixel_format", FILE_FORMATS)
def test_engines_are_shown_what_the_host_shows_but_for_rounding(pictures, decoded, pixel_format, matrix, range_):
    frames = decoded(pixel_format, matrix=matrix, range_=range_)
    for placement in placements_in(frames[0], TARGETS if range_ == 1 else TARGETS[::3]):
        assert_shown_alike(pictures, frames, placement)


@pytest.mark.parametrize("orientation", [Orientation(), *TURNS], ids=["stored", "turned", "upside down", "mirrored"])
@pytest.mark.parametrize("pixel_format", [*MEMORY_FORMATS, "yuv422p"])
def test_layouts_and_turns_are_shown_as_the_host_does(pictures, pixel_format, orientation):
    frame = held(noise(pixel_format), orientation)
    for placement in placements_in(frame, TARGETS[:6]):
        assert_shown_alike(pictures, [frame], placement)


def test_the_crops_of_a_latent_are_in_their_order(pictures, decoded):
    """Cut before any is shown, as they wait in a queue between two threads."""
    frames = decoded("yuv420p", 4)
    placement = next(placements_in(frames[0]))
    together = assert_shown_alike(pictures, frames, placement)
    for i, frame in enumerate(frames):
        np.testing.assert_array_equal(together[:, i], assert_shown_alike(pictures, [frame], placement)[:, 0])
    assert np.abs(together[:, 0] - together[:, 1]).max() > 0.5


def test_crops_of_a_real_clip_are_shown_as_the_host_does(pictures, subtitled):
    """H.264, whose chroma is tagged as sited left, without a tag for its matrix; a caption and the whole picture."""
    with closing(read(probe(subtitled))) as found:
        frames = [next(found) for _ in range(2)]
    for target in (Box(200, 330, 331, 47), Box(0, 0, 720, 404)):
        placement = place(target, Size(720, 404), 16, 1 << 20, ())
        assert_shown_alike(pictures, frames, placement, is_noise=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_engines_are_shown_their_own_type(decoded, dtype):
    """Rounded once, from the same numbers, whether a crop crossed or was scaled on the host."""
    frames, host = decoded("yuv420p", 2), Graphs(torch.device("cpu"))
    exact, narrow = (
        DevicePictures(torch.empty(0, dtype=kind), TorchPictureOps(), host) for kind in (torch.float32, dtype)
    )
    for placement in (next(placements_in(frames[0])), place(Box(0, 0, 60, 44), SIZE, 16, 32 * 32, ())):
        both = [side.shown([side.cut(frame, None, {0: placement})[0] for frame in frames]) for side in (exact, narrow)]
        assert both[1].dtype == dtype
        assert torch.equal(both[0].to(dtype), both[1])


def generated_for(placement, seed=3):
    """A crop as decoders give it: a frame of several in one tensor, beyond -1..1 here and there."""
    shape = 3, 2, placement.profile.height_px, placement.profile.width_px
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1.2, 1.2, shape).astype(np.float32))[:, 1]


def matte_of(picture, target, seed=4, scale=1):
    """Random alpha in the target's middle, the verges of the hole among it; flat parts; nothing elsewhere."""
    rng = np.random.default_rng(seed)
    matte = np.zeros((picture.height_px // scale, picture.width_px // scale), np.uint8)
    y, x = target.y_px // scale + 1, target.x_px // scale + 1
    part = matte[y : y + max(target.height_px // scale - 2, 1), x : x + max(target.width_px // scale - 3, 1)]
    part[...] = rng.choice(np.array([0, 0, 1, 128, HOLE_ALPHA - 1, HOLE_ALPHA, 255], np.uint8), part.shape)
    part[: part.shape[0] // 3] = 255
    part[-part.shape[0] // 3 :, ::2] = 0
    return matte


def exact_content(frame, placement, generated):
    """Float64 content of every coloured plane over `plane_box` of the target, in the plane's codes, one by one."""
    target, crop = placement.target, placement.box
    rows = slice(target.y_px - crop.y_px, target.bottom_px - crop.y_px)
    columns = slice(target.x_px - crop.x_px, target.right_px - crop.x_px)
    rgb = np.clip(generated.double().cpu().numpy() * 127.5 + 127.5, 0, 255)[:, rows, columns]
    for plane, weights in zip(coloured(frame), code_matrix(*frame.codes), strict=True):
        inner = plane_box(target, plane.step_x_px, plane.step_y_px)
        y = np.arange(inner.y_px * plane.step_y_px, inner.bottom_px * plane.step_y_px) - target.y_px
        x = np.arange(inner.x_px * plane.step_x_px, inner.right_px * plane.step_x_px) - target.x_px
        near = rgb[:, np.clip(y, 0, target.height_px - 1)][:, :, np.clip(x, 0, target.width_px - 1)]
        cells = near.reshape(3, inner.height_px, plane.step_y_px, inner.width_px, plane.step_x_px).mean(axis=(2, 4))
        yield inner, (np.tensordot(weights[:3], cells, 1) + weights[3]) * 2.0 ** (plane.bits - 8)


def coloured(frame):
    return [plane for plane in frame.planes if plane.kind != "alpha"]


def alphas(frame, placement, matte, mode):
    """Alpha of every coloured plane over `plane_box` of the target."""
    luma = luma_alpha(matte, size_of(frame), placement.target)
    for plane in coloured(frame):
        alpha = alpha_for(
            luma, placement.target, plane.step_x_px, plane.step_y_px, spread=plane.kind == "chroma"
        ).astype(float)
        yield np.full_like(alpha, 255) if mode == "off" else alpha


def codes_of(plane):
    return (plane.samples >> plane.shift).astype(float)


def float_error(bits):
    """Of float32 on its way to a sample: 24 roundings or fewer, of numbers below 2**(bits + 1).

    127.5 and its product and sum; a mean of four; a matrix given in float32, its products and sums; the mix.
    """
    return 24 * 2.0 ** (bits + 1 - 24)


def assert_bits_kept(source, result, least, shares, target):
    """Outside of the target's samples with `least` alpha or more, and below the bits of a sample: what it was."""
    for plane, done, alpha in zip(coloured(source), coloured(result), shares, strict=True):
        inner = plane_box(target, plane.step_x_px, plane.step_y_px)
        may = np.zeros(plane.samples.shape, bool)
        may[inner.slices] = alpha >= least
        np.testing.assert_array_equal(done.samples[~may], plane.samples[~may])
        assert not (done.samples & ((1 << plane.shift) - 1)).any()
        assert (done.samples >> plane.shift).max() < 2**plane.bits
    for plane, done in zip(source.planes, result.planes, strict=True):
        if plane.kind == "alpha":
            np.testing.assert_array_equal(done.samples, plane.samples)


def assert_pasted_exactly(source, result, placement, matte, mode, generated):
    """Every sample the nearest integer to its formula in float64, or where float32 cannot tell one of the two."""
    shares = list(alphas(source, placement, matte, mode))
    assert_bits_kept(source, result, 1, shares, placement.target)
    contents = exact_content(source, placement, generated)
    for plane, done, alpha, (inner, content) in zip(coloured(source), coloured(result), shares, contents, strict=True):
        before, after = codes_of(plane)[inner.slices], codes_of(done)[inner.slices]
        exact = np.clip(before + (content - before) * alpha / 255, 0, 2**plane.bits - 1)
        off = np.abs(after - exact)[alpha > 0]
        assert off.size == 0 or off.max() <= 0.5 + float_error(plane.bits)


def pasted_both(pictures, frame, placement, matte, mode, generated):
    config = CompositeConfig(mode=mode, fill="model")
    was = [plane.samples.copy() for plane in frame.planes]
    expected = HOST.pasted(frame, placement, matte, config, generated.numpy())
    found = pictures.pasted(frame, placement, matte, config, generated.to(pictures._device))
    for plane, samples in zip(frame.planes, was, strict=True):
        np.testing.assert_array_equal(plane.samples, samples)
    assert (found is frame) == (expected is frame)
    assert (found.index, found.time_us, found.codes) == (frame.index, frame.time_us, frame.codes)
    return expected, found


@pytest.mark.parametrize("range_", RANGES, ids=["limited", "full"])
@pytest.mark.parametrize("matrix", MATRICES, ids=["601", "709", "2020"])
@pytest.mark.parametrize("pixel_format", FILE_FORMATS)
def test_what_is_pasted_is_what_the_host_pastes(pictures, decoded, pixel_format, matrix, range_):
    """Both are held to one formula in float64: they differ by no more than one code, and that on the verge of two."""
    (frame,) = decoded(pixel_format, matrix=matrix, range_=range_)
    for placement in placements_in(frame, TARGETS if range_ == 1 else TARGETS[::3]):
        matte, generated = matte_of(SIZE, placement.target), generated_for(placement)
        for mode in ("paste", "off"):
            for result in pasted_both(pictures, frame, placement, matte, mode, generated):
                assert_pasted_exactly(frame, result, placement, matte, mode, generated)


@pytest.mark.parametrize("orientation", [Orientation(), *TURNS], ids=["stored", "turned", "upside down", "mirrored"])
@pytest.mark.parametrize("pixel_format", [*MEMORY_FORMATS, "yuv422p"])
def test_layouts_and_turns_are_pasted_as_the_host_does(pictures, pixel_format, orientation):
    """The matte at half the picture's size, as the prior makes it."""
    frame = held(noise(pixel_format), orientation)
    for placement in placements_in(frame, TARGETS[:6]):
        matte, generated = matte_of(size_of(frame), placement.target, scale=2), generated_for(placement)
        for result in pasted_both(pictures, frame, placement, matte, "paste", generated):
            assert_pasted_exactly(frame, result, placement, matte, "paste", generated)


def test_the_kernels_take_pictures_as_they_are_packed(decoded):
    """16 bits as uint16, planes one after the other wherever they begin; in Triton's interpreter, or on a GPU."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    pictures = DevicePictures(torch.empty(0, device=device), KernelPictureOps(), Graphs(device))
    frames = [held(noise("p010le")), *decoded("yuv422p10le"), *decoded("yuv420p")]
    for frame, mode in zip(frames, MODES, strict=True):
        placement = place(Box(43, 31, 17, 13), SIZE, 16, 1 << 20, ())
        assert_shown_alike(pictures, [frame], placement)
        matte, generated = matte_of(SIZE, placement.target), generated_for(placement)
        _, found = pasted_both(pictures, frame, placement, matte, mode, generated)
        shares = list(alphas(frame, placement, matte, mode))
        assert_bits_kept(frame, found, HOLE_ALPHA if mode == "membrane" else 1, shares, placement.target)
        if mode != "membrane":
            assert_pasted_exactly(frame, found, placement, matte, mode, generated)


def waves(shape, middle, swing, step):
    """In codes of 8 bits, at the places of a plane's samples in the picture."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    return middle + swing * np.sin(x * step[0] / 11 + y * step[1] / 17)


class Flat:
    """A picture of waves, rounded, with white text over them, and the waves off by a field as what was generated.

    Chroma is the same all over a cell, so that its mean is what it was.
    """

    TARGET = Box(9, 11, 38, 22)

    def __init__(self, pixel_format, swing):
        self.frame = held(noise(pixel_format)).edited()
        self.placement = place(self.TARGET, SIZE, 16, 1 << 20, ())
        self.matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
        self.matte[14:29, 14:42] = 100
        self.matte[16:27, 16:40] = 200
        self.matte[17:26, 17:39] = 255
        self.clean, planes = [], []
        for i, plane in enumerate(self.frame.planes):
            shape, step = plane.samples.shape, (plane.step_x_px, plane.step_y_px)
            scale = 2.0 ** (plane.bits - 8)
            clean = waves(shape, (120, 124, 131)[i], (20, 6, 5)[i], step) * scale
            off = waves(shape, (-9, 3, -4)[i], swing, (step[1], 2 * step[0])) * scale
            self.clean.append(clean)
            plane.samples[...] = np.rint(clean).astype(plane.samples.dtype) << plane.shift
            y, x = 16 // step[1], 16 // step[0]
            plane.samples[y : 27 // step[1], x : 40 // step[0]] = int(235 * scale) << plane.shift
            planes.append(np.repeat(np.repeat((clean + off) / scale, step[1], 0), step[0], 1))
        codes = code_matrix(*self.frame.codes)
        rgb = np.tensordot(np.linalg.inv(codes[:, :3]), np.stack(planes) - codes[:, 3, None, None], 1)
        assert rgb.min() >= 0
        assert rgb.max() <= 255
        whole = torch.from_numpy((rgb / 127.5 - 1).astype(np.float32))
        self.generated = torch.full((3, self.placement.profile.height_px, self.placement.profile.width_px), torch.nan)
        rows, columns = self.placement.box.slices
        self.generated[:, : rows.stop - rows.start, : columns.stop - columns.start] = whole[:, rows, columns]


def field_error(off, hole):
    """Of the device's field in float32.

    A sweep rounds 8 times a number below 4 times the largest known one. Laplace's equation in a strip of n cells makes
    at most (n + 1)**2 / 8 of what is missing in each; that is looked for again with every correction.
    """
    cells = hole.any(axis=1).sum()
    return 8 * 4 * 2.0**-24 * np.abs(off).max() * (cells + 1) ** 2 / 8 * (1 + CORRECTIONS)


@pytest.mark.parametrize("swing", [0.0, 6.0])
@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv444p", "yuv422p10le", "p010le"])
def test_a_membrane_moves_what_was_generated_to_meet_the_picture(pictures, pixel_format, swing):
    """The host by no less than the least, and no more than the most, by which it is off where the picture is known.

    So says the maximum principle of the harmonic field, to which it comes within 0.4 codes of 8 bits. The device has
    another solver: its field is that of the solver's formula in float64. Where only rounding is off, which is half a
    code, the picture is back under the text.
    """
    case = Flat(pixel_format, swing)
    shares = list(alphas(case.frame, case.placement, case.matte, "membrane"))
    host, device = pasted_both(pictures, case.frame, case.placement, case.matte, "membrane", case.generated)
    contents = list(exact_content(case.frame, case.placement, case.generated))
    for result in (host, device):
        assert_bits_kept(case.frame, result, HOLE_ALPHA, shares, case.placement.target)
    for i, (plane, alpha, (inner, content)) in enumerate(zip(case.frame.planes, shares, contents, strict=True)):
        hole, scale = alpha >= HOLE_ALPHA, 2.0 ** (plane.bits - 8)
        assert 0 < hole.sum() < hole.size
        source = codes_of(plane)[inner.slices]
        known = np.where(hole, np.nan, source - content)
        least, most = np.nanmin(known), np.nanmax(known)
        solved = pull_push_ref(torch.from_numpy(known)[None])[0].numpy()[hole]
        slack = 0.5 + float_error(plane.bits)
        for result, low, high, more in (
            (host, least, most, 0.4 * scale),
            (device, solved, solved, field_error(known[~hole], hole)),
        ):
            after = codes_of(result.planes[i])[inner.slices][hole]
            unmixed = content[hole] - source[hole]
            assert (after - source[hole] >= (unmixed + low - more) * alpha[hole] / 255 - slack).all()
            assert (after - source[hole] <= (unmixed + high + more) * alpha[hole] / 255 + slack).all()
        if not swing:
            assert most - least <= 1 + 1e-3
            clean = case.clean[i][inner.slices][hole]
            for result, more in ((host, 0.5 + 0.4 * scale), (device, np.abs(solved - (least + most) / 2).max())):
                after = codes_of(result.planes[i])[inner.slices][hole]
                mixed = source[hole] + (clean - source[hole]) * alpha[hole] / 255
                # The middle of what is known may itself be off by what rounding leaves of a code.
                assert (np.abs(after - mixed) <= slack + more + 0.5).all()


@pytest.mark.parametrize("pixel_format", ["yuv420p", "yuv422p10le", "yuva420p"])
def test_a_membrane_leaves_what_is_not_in_its_hole(pictures, decoded, pixel_format):
    (frame,) = decoded(pixel_format)
    for target in TARGETS[:6]:
        placement = place(target, SIZE, 16, 1 << 20, ())
        matte, generated = matte_of(SIZE, placement.target), generated_for(placement)
        shares = list(alphas(frame, placement, matte, "membrane"))
        for result in pasted_both(pictures, frame, placement, matte, "membrane", generated):
            assert_bits_kept(frame, result, HOLE_ALPHA, shares, placement.target)
            assert any((a.samples != b.samples).any() for a, b in zip(frame.planes, result.planes, strict=True))


@pytest.mark.parametrize("mode", ["membrane", "paste"])
def test_a_hole_that_covers_everything_takes_what_was_generated(pictures, decoded, mode):
    """There is nothing to meet: the host's field is 0 then, and the device's too."""
    (frame,) = decoded("yuv420p")
    placement = place(Box(8, 12, 20, 14), SIZE, 16, 1 << 20, ())
    generated, matte = generated_for(placement), np.full((SIZE.height_px, SIZE.width_px), 255, np.uint8)
    for result in pasted_both(pictures, frame, placement, matte, mode, generated):
        assert_pasted_exactly(frame, result, placement, matte, mode, generated)


def same_samples(a, b):
    return all(np.array_equal(x.samples, y.samples) for x, y in zip(a.planes, b.planes, strict=True))


def assert_by_the_host(pictures, frame, placement, matte, *, drafts=False):
    """Cut, shown and pasted bit for bit as the host does."""
    given = HOST.cut(frame, matte if drafts else None, {"a": placement})
    cut = pictures.cut(frame, matte if drafts else None, {"a": placement})
    assert cut.keys() == given.keys()
    np.testing.assert_array_equal(cut["a"], given["a"])
    np.testing.assert_array_equal(host_copy(pictures.shown([cut["a"]] * 2)), HOST.shown([given["a"]] * 2))
    if not drafts:
        generated = generated_for(placement)
        for mode in MODES:
            expected, found = pasted_both(pictures, frame, placement, matte, mode, generated)
            assert same_samples(expected, found)


@pytest.mark.parametrize("pixel_format", ["gray", "gray10le", "rgb24", "gbrp", "rgba", "yuv411p", "yuv410p"])
def test_other_formats_go_by_the_host(pictures, pixel_format):
    frame = held(noise(pixel_format))
    for placement in placements_in(frame, TARGETS[:2]):
        assert_by_the_host(pictures, frame, placement, matte_of(SIZE, placement.target))


@pytest.mark.parametrize("orientation", [Orientation(), *TURNS], ids=["stored", "turned", "upside down", "mirrored"])
@pytest.mark.parametrize("size", [(59, 44), (60, 43)])
def test_odd_sizes_go_by_the_host(pictures, size, orientation):
    frame = held(noise("yuv420p", size), orientation)
    for placement in placements_in(frame, [TARGETS[0], Box(30, 20, 13, 23)]):
        assert_by_the_host(pictures, frame, placement, matte_of(size_of(frame), placement.target))


def test_scaled_crops_go_by_the_host(pictures, decoded):
    (frame,) = decoded("yuv420p10le")
    placement = place(Box(0, 13, 60, 17), SIZE, 16, 32 * 32, ())
    assert placement.is_scaled
    assert_by_the_host(pictures, frame, placement, matte_of(SIZE, placement.target))


def test_drafts_go_by_the_host(pictures, decoded):
    (frame,) = decoded("yuv420p")
    for placement in placements_in(frame, TARGETS[:2]):
        assert_by_the_host(pictures, frame, placement, matte_of(SIZE, placement.target), drafts=True)


def test_each_crop_of_a_frame_takes_its_own_way(pictures, decoded):
    (frame,) = decoded("yuv420p")
    inside, scaled = next(placements_in(frame)), place(Box(0, 0, 60, 44), SIZE, 16, 32 * 32, ())
    cut = pictures.cut(frame, None, {"inside": inside, "scaled": scaled})
    expected = HOST.cut(frame, None, {"inside": inside, "scaled": scaled})
    assert cut.keys() == expected.keys()
    np.testing.assert_array_equal(cut["scaled"], expected["scaled"])
    assert_shown_alike(pictures, [frame], inside)
    assert pictures.cut(frame, None, {}) == {}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("pixel_format", ["yuv420p", "gray"])
def test_without_alpha_the_frame_itself_comes_back(pictures, pixel_format, mode):
    """But for mode off, which does not look; text in other places counts for nothing."""
    frame = held(noise(pixel_format))
    placement = place(Box(8, 12, 20, 14), SIZE, 16, 1 << 20, ())
    for rows in (slice(0, 0), slice(0, 11), slice(28, None)):
        matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
        matte[rows] = 255
        _, found = pasted_both(pictures, frame, placement, matte, mode, generated_for(placement))
        assert (found is frame) == (mode != "off")


def test_runs_of_one_frame_are_pasted_one_after_the_other(pictures, decoded):
    (frame,) = decoded("yuv420p")
    results = frame, frame
    for target in (TARGETS[1], TARGETS[4]):
        placement = place(target, SIZE, 16, 1 << 20, ())
        matte, generated = matte_of(SIZE, target), generated_for(placement)
        config = CompositeConfig(mode="paste", fill="model")
        before = results[1]
        results = (
            HOST.pasted(results[0], placement, matte, config, generated.numpy()),
            pictures.pasted(results[1], placement, matte, config, generated.to(pictures._device)),
        )
        assert results[1] is not before
        assert_pasted_exactly(before, results[1], placement, matte, "paste", generated)
    for host, device in zip(results[0].planes, results[1].planes, strict=True):
        assert np.abs(codes_of(host) - codes_of(device)).max() <= 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_picture_is_that_of_the_host(pictures, dtype):
    generated = generated_for(next(placements_in(held(noise("yuv420p"))))).to(pictures._device, dtype)
    found = pictures.picture(generated)
    np.testing.assert_array_equal(found, picture_of(generated.float().cpu().numpy()))
    assert (found.dtype, found.flags.c_contiguous, found.min(), found.max()) == (np.float32, True, 0, 255)


def test_many_threads_do_what_one_does(pictures, decoded):
    """Cutting, showing and pasting of several frames at once, in all modes, some by the host."""
    frames = [*decoded("yuv420p", 3), *decoded("yuv420p10le", 2), held(noise("gray"))]
    placements = [*placements_in(frames[0], TARGETS[3:5]), place(Box(0, 0, 60, 44), SIZE, 16, 32 * 32, ())]
    jobs = [*product(frames, placements, ("paste", "off")), *product(frames[2:4], placements[:1], ("membrane",))]

    def done(job):
        frame, placement, mode = job
        shown = host_copy(pictures.shown([pictures.cut(frame, None, {0: placement})[0]]))
        generated = generated_for(placement).to(pictures._device)
        config = CompositeConfig(mode=mode, fill="model")
        result = pictures.pasted(frame, placement, matte_of(SIZE, placement.target), config, generated)
        return [shown, *(plane.samples.copy() for plane in result.planes)]

    alone = list(map(done, jobs))
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(done, jobs))
    for one, other in zip(alone, together, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_values_that_are_no_numbers_are_refused_where_the_host_looks(pictures, decoded, value):
    (frame,) = decoded("yuv420p")
    placement = place(Box(0, 13, 60, 17), SIZE, 16, 32 * 32, ())
    generated = generated_for(placement).clone().to(pictures._device)
    generated[1, 2, 3] = value
    config, matte = CompositeConfig(mode="paste", fill="model"), matte_of(SIZE, placement.target)
    with pytest.raises(EngineError, match="the generator answered with values that are no numbers"):
        pictures.pasted(frame, placement, matte, config, generated)
    with pytest.raises(EngineError, match="the generator answered with values that are no numbers"):
        pictures.picture(generated)


@pytest.fixture(scope="module")
def side(randomise):
    """Of a transformer and a VAE as small as they may be, random, in float32."""
    sizes = DitConfig(
        width=128, heads=1, layers=1, ffn_width=32, text_width=8, freq_width=16, image_width=8, occlusion=True
    )
    with torch.no_grad():
        dit = randomise(BakedDit(BakedConfig.of(sizes, text_keys=3, timesteps=2)))
        vae = randomise(Vae(VaeConfig(base_width=4, res_blocks=1)), 1)
        steps = [step.folded(vae).requires_grad_(False).eval() for step in (EncoderStep, DecoderStep)]
    return DeviceSide(dit.place_turns(dit.time).requires_grad_(False).eval(), *steps, by_kernels=False)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_frames_that_are_no_numbers_are_refused_by_the_side_and_forgotten(side, at, value):
    """In the words of the host; the coder that they went through serves the next run as if they had not been."""
    latents = torch.randn(3, 16, 4, 6, generator=torch.Generator().manual_seed(5))

    def decoded(given):
        caches, found = None, []
        for latent in given:
            frames, caches = side.decode(latent, caches)
            found.append(frames)
        return torch.cat(found, 1)

    expected = decoded(latents)
    assert expected.isfinite().all()
    spoilt = latents.clone()
    spoilt[at, 3, 1, 2] = value
    with pytest.raises(EngineError) as caught:
        decoded(spoilt)
    with pytest.raises(EngineError) as hosts:
        HOST.picture(np.full((3, 2, 2), np.nan, np.float32))
    assert str(caught.value) == str(hosts.value)
    assert torch.equal(decoded(latents), expected)


def test_frames_are_pasted_from_the_side_s_own_answers(side, decoded):
    """Cut, encoded, decoded and pasted without a copy between: what later steps make changes no frame that is out."""
    (frame,) = decoded("yuv420p")
    placement = place(TARGETS[0], SIZE, 16, 1 << 20, ())
    crops = [side.pictures.cut(frame, None, {0: placement})[0]] * 4
    latent, caches = side.encode(side.pictures.shown(crops[:1]), None)
    assert (latent.dtype, latent.shape[0]) == (torch.float32, 16)
    others = [latent]
    for _ in range(2):
        other, caches = side.encode(side.pictures.shown(crops), caches)
        others.append(other)
    assert not torch.equal(others[1], others[2])
    out, kept, caches = [], [], None
    for given in others:
        frames, caches = side.decode(given, caches)
        out.extend(frames.swapaxes(0, 1))
        kept.extend(frames.swapaxes(0, 1).clone())
    matte, config = matte_of(SIZE, placement.target), CompositeConfig(mode="paste", fill="model")
    assert len(out) == 9
    for generated, as_it_was in zip(out, kept, strict=True):
        result = side.pictures.pasted(frame, placement, matte, config, generated)
        assert_pasted_exactly(frame, result, placement, matte, "paste", as_it_was)


def test_what_does_not_fit_is_told_as_an_error_of_the_engine(pictures, decoded):
    """A placement of another picture, which no caller should make, ends in a sentence and not in torch's words."""
    (frame,) = decoded("yuv420p")
    placement = place(TARGETS[0], SIZE, 16, 1 << 20, ())
    config, matte = CompositeConfig(mode="paste", fill="model"), matte_of(SIZE, placement.target)
    with pytest.raises(EngineError, match="--engine cuda failed on"):
        pictures.pasted(frame, placement, matte, config, torch.zeros(3, 4, 4, device=pictures._device))
