"""The GPU's side of the `trt` engine on the host's memory: latents by the kernels' launches in Triton's interpreter,
against numpy; pictures against the same kernels under torch. No GPU is used or pretended.
"""

from contextlib import closing
from fractions import Fraction
from itertools import islice

import av
import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="kernels are interpreted on torch's tensors: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt import frames  # noqa: E402
from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig, WriteConfig  # noqa: E402
from clear_rt.crops import place  # noqa: E402
from clear_rt.frames import Frame  # noqa: E402
from clear_rt.frames.layout import pixel_layout  # noqa: E402
from clear_rt.frames.orientation import Orientation  # noqa: E402
from clear_rt.frames.scale import Scaler  # noqa: E402
from clear_rt.frames.views import component_views  # noqa: E402
from clear_rt.generate import CropGenerator  # noqa: E402
from clear_rt.kernels.chips import INTERPRETED  # noqa: E402
from clear_rt.latents import decode_frames, encode  # noqa: E402
from clear_rt.pictures import HostPictures  # noqa: E402
from clear_rt.remover import Remover  # noqa: E402
from clear_rt.report import Stopwatch  # noqa: E402
from clear_rt.restart import Restartable  # noqa: E402
from clear_rt.runtime.cuda.graphs import Graphs  # noqa: E402
from clear_rt.runtime.cuda.picture_ops import KernelPictureOps  # noqa: E402
from clear_rt.runtime.cuda.pictures import DevicePictures  # noqa: E402
from clear_rt.runtime.engine import open_engine  # noqa: E402
from clear_rt.runtime.slim.context import open_context  # noqa: E402
from clear_rt.runtime.trt import pictures as trt_pictures  # noqa: E402
from clear_rt.runtime.trt.device import NEEDED_KERNELS, device_of, missing_kernels  # noqa: E402
from clear_rt.runtime.trt.engine import SlimEngine  # noqa: E402
from clear_rt.shapes import Box, Size  # noqa: E402
from clear_rt.windows import plan_windows  # noqa: E402
from tests.runtime.host_driver import host_driver  # noqa: E402
from tests.runtime.host_kernels import HostKernels  # noqa: E402
from tests.runtime.host_networks import OnnxNetworks  # noqa: E402

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="a GPU is here: test_trt_gpu.py runs on it")
SIZE, CHIP = Size(60, 44), 80
PICTURES = 27


class Stand:
    """An engine with kernels, and what stands for the GPU and TensorRT behind it."""

    def __init__(self, driver, bundle, spec, captures=True):
        self.kernels = HostKernels(spec.for_gpu(CHIP), driver)
        self.device = device_of(open_context(), self.kernels, None, captures=captures)
        networks = OnnxNetworks(bundle, driver)
        self.engine = SlimEngine(bundle, self.device, networks, networks, "a stand-in")


@pytest.fixture
def driver():
    with host_driver() as found:
        yield found


@pytest.fixture(params=[True, False], ids=["graphs", "no graphs"])
def stand(driver, kernels_spec, request):
    return Stand(driver, open_bundle(), kernels_spec, request.param)


@pytest.fixture(autouse=True)
def one_thread():
    """Of torch's own: for arrays as small as these, several of them mostly wait for each other."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_kernels_of_a_bundle_are_those_that_are_needed(kernels_spec):
    assert missing_kernels(kernels_spec, 80) is None
    assert missing_kernels(kernels_spec, 90) is None
    assert {*NEEDED_KERNELS} <= kernels_spec.for_gpu(80).keys()
    assert "built without Triton" in missing_kernels(None, 80)
    assert "expected kernels for this GPU, sm_120" in missing_kernels(kernels_spec, 120)
    few = type(kernels_spec)({80: {"window_step-fp32": None}})
    assert missing_kernels(few, 80) == "the bundle's kernels lack hold_overlap; build it again"


@pytest.mark.parametrize("policy", ["paper", "reference", "stream"])
def test_crops_are_generated_as_by_onnx_bit_for_bit(stand, subtitled, policy):
    """Encoding, denoising in windows and decoding, all that lies between them on the device's side."""
    bundle = open_bundle()
    with closing(frames.read(frames.probe(subtitled))) as found:
        crops = [frame.rgb(404, 720)[340:372, 200:248] for frame in islice(found, 30, 30 + PICTURES)]
    made = []
    for engine in (stand.engine, open_engine("onnx", bundle)):
        generator = CropGenerator(engine, bundle.generator, DenoiseConfig(policy=policy, steps=2))
        made.append(np.stack([*generator.crops(0, crops, PICTURES, Stopwatch())]))
    assert made[0].shape == (PICTURES, 32, 48, 3)
    assert made[0].std() > 5
    np.testing.assert_array_equal(*made)
    assert any(name.startswith("window_step-fp32") for name in stand.kernels.launched)
    assert ("hold_overlap" in stand.kernels.launched) == (policy == "stream")


def test_a_canvas_copies_and_counts_as_numpy_does(stand):
    plan, table = plan_windows(9, 5, 2, "paper"), open_bundle().generator.step_tables[2]
    canvas = stand.engine.side.canvas(plan, table)
    given = [np.random.default_rng(k).standard_normal((3, 2, 4), dtype=np.float32) for k in range(7)]
    there = canvas.placed(given)
    whole = np.stack(given, axis=1)

    def host(array):
        return stand.device.crossing.to_host(stand.device.networks.stream, array)

    np.testing.assert_array_equal(host(there), whole)
    part = canvas.part(there, 2, 6)
    np.testing.assert_array_equal(host(part), whole[:, 2:6])
    np.testing.assert_array_equal(host(canvas.latent(there, 3)), whole[:, 3])
    np.testing.assert_array_equal(host(canvas.continued(there, 1, 4, part)),
                                  np.concatenate((whole[:, 1:4], whole[:, 2:6]), axis=1))  # fmt: skip
    np.testing.assert_array_equal(host(canvas.stacked([canvas.latent(there, k) for k in (5, 0)])), whole[:, [5, 0]])
    assert canvas.form(part) == "float32 [3, 4, 2, 4]"
    spoilt = whole.copy()
    spoilt[0, 1, 0, 2], spoilt[2, 3, 1, 1] = np.nan, -np.inf
    assert canvas.not_finite(canvas.placed([*spoilt.swapaxes(0, 1)])) == 2
    assert canvas.not_finite(there) == 0


def test_latents_and_frames_outlive_their_side(stand):
    side = stand.engine.side
    assert isinstance(side, Restartable)
    array = np.random.default_rng(0).standard_normal((3, 4, 5), dtype=np.float32)
    there = side.from_host(array)
    np.testing.assert_array_equal(side.to_host(there), array)
    np.testing.assert_array_equal(side.to_host(there.swapaxes(0, 1)[1]), array[:, 1])


def picture(pixel_format, seed=0):
    """A frame of waves and noise within the codes of limited range."""
    layout, rng = pixel_layout(pixel_format), np.random.default_rng(seed)
    made = av.VideoFrame(*SIZE, pixel_format)
    for view in component_views(made, layout, writable=True):
        y, x = np.mgrid[: view.shape[0], : view.shape[1]]
        codes = np.clip(127.5 + 60 * np.sin(x / 5 + 0.3 * y) + rng.normal(0, 20, view.shape), 16, 235)
        view[...] = np.rint(codes * 2.0 ** (layout.bits - 8)).astype(layout.dtype) << layout.shift
    made.pts, made.time_base = seed, Fraction(1, 25)
    return Frame(made, seed, 0, layout, Orientation(), Scaler())


def matte_for(target):
    rng = np.random.default_rng(4)
    matte = np.zeros((SIZE.height_px, SIZE.width_px), np.uint8)
    inner = matte[target.y_px + 1 : target.bottom_px - 1, target.x_px + 1 : target.right_px - 1]
    inner[...] = rng.choice(np.array([0, 128, 255], np.uint8), inner.shape)
    inner[: inner.shape[0] // 2] = 255
    return matte


def torch_pictures():
    return DevicePictures(torch.empty(0), KernelPictureOps(), Graphs(torch.device("cpu")))


def generated_for(placement, seed):
    shape = 3, placement.profile.height_px, placement.profile.width_px
    return np.random.default_rng(seed).uniform(-1.2, 1.2, shape).astype(np.float32)


def there(stand, array):
    """Done when it returns, as what networks make is."""
    made = stand.device.crossing.to_device(stand.device.networks.stream, array)
    stand.device.networks.stream.synchronize()
    return made


# Inside, not on whole cells, where planes and contents begin anywhere; beyond the picture's edges.
TARGETS = [Box(9, 11, 23, 9), Box(49, 35, 11, 9)]


@pytest.mark.parametrize("pixel_format", ["yuv420p", "p010le"])
def test_pictures_cross_as_they_do_for_torch_bit_for_bit(driver, kernels_spec, pixel_format):
    stand = Stand(driver, open_bundle(), kernels_spec)
    slim, other = stand.engine.side.pictures, torch_pictures()
    for target, seeds in zip(TARGETS, ((5, 6), (5,)), strict=True):
        placement = place(target, SIZE, 16, 1 << 20, ())
        given = [picture(pixel_format, seed) for seed in range(3)]
        cut = [slim.cut(frame, None, {0: placement})[0] for frame in given]
        assert not any(isinstance(crop, np.ndarray) for crop in cut)
        # The last crop is repeated where a latent is not full.
        shown = stand.device.crossing.to_host(stand.device.pictures.stream, slim.shown([*cut, cut[-1]]))
        expected = other.shown([other.cut(frame, None, {0: placement})[0] for frame in [*given, given[-1]]])
        np.testing.assert_array_equal(shown, expected.numpy())
        matte, config = matte_for(target), CompositeConfig(fill="model")
        for seed in seeds:
            content = generated_for(placement, seed)
            found = slim.pasted(given[0], placement, matte, config, there(stand, content))
            wanted = other.pasted(given[0], placement, matte, config, torch.from_numpy(content))
            for new, same, old in zip(found.planes, wanted.planes, given[0].planes, strict=True):
                np.testing.assert_array_equal(new.samples, same.samples)
                assert (new.samples != old.samples).any()
    assert stand.device.pictures.graphs.count == len(TARGETS)


@pytest.mark.parametrize(("pixel_format", "mode"), [("yuv422p", "membrane"), ("yuv444p", "paste"), ("yuv420p", "paste"),
                                                    ("yuv420p", "off")])  # fmt: skip
def test_what_the_kernels_do_not_cover_goes_by_the_host(stand, pixel_format, mode):
    frame, placement = picture(pixel_format), place(TARGETS[0], SIZE, 16, 1 << 20, ())
    slim, host, config = stand.engine.side.pictures, HostPictures(), CompositeConfig(fill="model", mode=mode)
    content, matte = generated_for(placement, 7), matte_for(TARGETS[0])
    found = slim.pasted(frame, placement, matte, config, there(stand, content))
    expected = host.pasted(frame, placement, matte, config, content)
    for new, old in zip(found.planes, expected.planes, strict=True):
        np.testing.assert_array_equal(new.samples, old.samples)
    if pixel_format != "yuv420p":
        cut = [one.cut(frame, None, {0: placement})[0] for one in (slim, host)]
        np.testing.assert_array_equal(*cut)
        shown = stand.device.crossing.to_host(stand.device.pictures.stream, slim.shown([cut[0]]))
        np.testing.assert_array_equal(shown, host.shown([cut[1]]))


def test_regions_that_are_gone_are_let_go(driver, kernels_spec, monkeypatch):
    """One serves all regions of a size that lie alike on chroma's cells."""
    monkeypatch.setattr(trt_pictures, "MOST_PASTINGS", 2)
    stand = Stand(driver, open_bundle(), kernels_spec)
    slim, frame = stand.engine.side.pictures, picture("yuv420p")
    for x, width in enumerate([4, 4, 6, 8]):
        target = Box(2 * x, 12, width, 6)
        placement = place(target, SIZE, 16, 1 << 20, ())
        content = there(stand, generated_for(placement, x))
        slim.pasted(frame, placement, matte_for(target), CompositeConfig(fill="model"), content)
        assert len(slim._pastings) == (1, 1, 2, 2)[x]
    assert stand.device.pictures.graphs.count == 3


def test_a_frame_of_several_is_a_view_that_lives_as_long_as_it_is_held(stand):
    """As `Contents` holds generated frames while the engine goes on."""
    side = stand.engine.side
    pictures = [np.random.default_rng(k).integers(0, 256, (16, 32, 3), dtype=np.uint8) for k in range(9)]
    latents = list(encode(stand.engine, iter(pictures), 9, latent_channels=16, latent_px=8))
    held = list(decode_frames(side, (there(stand, latent) for latent in latents), 9))
    expected = list(decode_frames(stand.engine, iter(latents), 9))
    for one, other in zip(held, expected, strict=True):
        assert one.shape == (3, 16, 32)
        np.testing.assert_array_equal(stand.device.crossing.to_host(stand.device.pictures.stream, one), other)


def test_a_clip_is_filled_with_everything_on_the_device_s_side(
    driver, kernels_spec, random_bundle, subtitled, tmp_path
):
    """Every thread at once: crops, engine, edits. What the matte leaves out keeps every bit."""
    bundle = open_bundle(random_bundle)
    assert not bundle.generator.draft
    stand = Stand(driver, bundle, kernels_spec)
    clip = tmp_path / "clip.mkv"
    with closing(frames.read(frames.probe(subtitled))) as found, av.open(str(clip), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 720, 404, "yuv420p"
        for number, frame in enumerate(islice(found, 30, 35)):
            one = frame.edited().picture
            one.pts, one.time_base = number, Fraction(1, 25)
            container.mux(stream.encode(one))
        container.mux(stream.encode(None))
    config = RunConfig(
        region=RegionConfig(mode="fixed", boxes=(Box(201, 331, 31, 13),)),
        composite=CompositeConfig(fill="model"),
        denoise=DenoiseConfig(steps=2),
        write=WriteConfig(lossless=True),
    )
    report = Remover(config, bundle=bundle, engine=stand.engine)(clip, tmp_path / "out.mkv")
    assert (report.engine, report.frames, report.frames_changed, report.regions_scaled) == ("trt", 5, 5, 0)
    assert {"yuv_to_input-u8-fp32", "composite-u8-fp32-luma", "window_step-fp32"} <= {*stand.kernels.launched}
    assert stand.device.pictures.graphs.count == 1
    before, after = (list(frames.read(frames.probe(path))) for path in (clip, tmp_path / "out.mkv"))
    for was, now in zip(before, after, strict=True):
        outside = np.ones(was.planes[0].samples.shape, bool)
        outside[331:344, 201:232] = False
        assert (was.planes[0].samples != now.planes[0].samples).any()
        np.testing.assert_array_equal(was.planes[0].samples[outside], now.planes[0].samples[outside])
