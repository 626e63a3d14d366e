"""The `trt` engine's loop, memory and graphs, with ONNX graphs in place of TensorRT's engines and the host's memory in
place of a GPU's, against the `onnx` engine: the same numbers, bit for bit. No GPU is used or pretended.
"""

import gc
import logging

import numpy as np
import pytest

from clear_rt.bundle import open_bundle
from clear_rt.errors import EngineError
from clear_rt.restart import Restartable
from clear_rt.runtime.coder_runs import MOST_FREE
from clear_rt.runtime.device import gpu_count
from clear_rt.runtime.engine import open_engine
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.trt.device import device_of
from clear_rt.runtime.trt.engine import SlimEngine
from clear_rt.side import HostSide
from clear_rt.states import StateError
from tests.runtime.host_driver import host_driver
from tests.runtime.host_networks import CopiedNetworks, OnnxNetworks

pytestmark = pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here: test_trt_gpu.py runs on it")
WHY = "no kernels in this test"


class Stand:
    """An engine and what stands for the GPU and TensorRT behind it."""

    def __init__(self, driver, bundle, captures=True, **options):
        self.driver, self.networks = driver, OnnxNetworks(bundle, driver, **options)
        device = device_of(open_context(), None, WHY, captures=captures)
        self.engine = SlimEngine(bundle, device, self.networks, self.networks, "a stand-in")


@pytest.fixture(scope="module")
def bundle():
    """The embedded one: its graphs are in the wheel, and need no torch."""
    return open_bundle()


@pytest.fixture(scope="module")
def onnx(bundle):
    return open_engine("onnx", bundle)


@pytest.fixture
def driver():
    with host_driver() as found:
        yield found


@pytest.fixture(params=[True, False], ids=["graphs", "no graphs"])
def stand(driver, bundle, request):
    return Stand(driver, bundle, request.param)


def drawn(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def pieces(seed, size_px, latents=4):
    frames = np.tanh(drawn(seed, 3, 4 * latents - 3, *size_px))
    return [frames[:, :1], *(frames[:, i : i + 4] for i in range(1, frames.shape[1], 4))]


def streamed(call, given):
    caches, found = None, []
    for one in given:
        made, caches = call(one, caches)
        found.append(made)
    return found


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("size_px", [(16, 16), (32, 48)])
def test_coding_is_that_of_onnx_over_several_runs(stand, onnx, size_px):
    """Five latents: both sets of what steps leave are read and written twice. A second run finds the first's coder."""
    for seed in (1, 2):
        given = pieces(seed, size_px, 5)
        latents = streamed(stand.engine.encode, given)
        assert_same(latents, streamed(onnx.encode, given))
        assert_same(streamed(stand.engine.decode, latents), streamed(onnx.decode, latents))
        gc.collect()
    roles = stand.networks.opened_roles
    assert [roles.count(role) for role in ("encoder_first", "encoder_next", "decoder_first", "decoder_next")] == [
        1, 2, 1, 2,
    ]  # fmt: skip


def test_velocity_is_that_of_onnx(stand, onnx):
    rows = [row for table in open_bundle().generator.step_tables.values() for row in table.rows]
    for grid in ((5, 4, 6), (2, 6, 4), (5, 4, 6)):
        latents, control = drawn(3, 16, *grid), drawn(4, 16, *grid)
        held, expected = stand.engine.control(control), onnx.control(control)
        for row in (rows[0], max(rows), 3):
            found = stand.engine.velocity(latents, held, row)
            assert_same([found], [onnx.velocity(latents, expected, row)])
    assert stand.networks.opened_roles.count("step") == 2


def test_windows_under_way_at_once_keep_their_controls(stand, onnx):
    first, second, latents = (drawn(seed, 16, 3, 4, 4) for seed in (5, 6, 7))
    held = [stand.engine.control(one) for one in (first, second)]
    for one, tokens in zip((first, second, first), (held[0], held[1], held[0]), strict=True):
        assert_same([stand.engine.velocity(latents, tokens, 2)], [onnx.velocity(latents, onnx.control(one), 2)])


def test_runs_at_once_do_not_meet(stand, onnx):
    """Two regions of one size on the screen, their steps in turns."""
    given = pieces(6, (16, 32)), pieces(7, (16, 32))
    caches, found = [None, None], ([], [])
    for step in range(len(given[0])):
        for run in (0, 1):
            made, caches[run] = stand.engine.encode(given[run][step], caches[run])
            found[run].append(made)
    for run in (0, 1):
        assert_same(found[run], streamed(onnx.encode, given[run]))
    assert stand.networks.opened_roles.count("encoder_first") == 2


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_what_a_coder_keeps_outlives_it(stand, driver, bundle, onnx, steps):
    """Taken out after a step into either set of arrays, put back in another engine, and in the middle of other runs."""
    given = pieces(14, (16, 32), 5)
    expected = streamed(onnx.encode, given)
    caches, other = None, Stand(driver, bundle)
    for one in given[:steps]:
        _, caches = stand.engine.encode(one, caches)
    state = [array.copy() for array in stand.engine.saved(caches)]
    assert isinstance(stand.engine.side, Restartable)
    streamed(other.engine.encode, pieces(15, (16, 32), 3))
    caches, found = other.engine.restored("encoder", state), []
    for one in given[steps:]:
        latent, caches = other.engine.encode(one, caches)
        found.append(latent)
    assert_same(found, expected[steps:])
    for spoilt in ([], state[1:], state[:-1], [state[0], *state[2:], state[1]]):
        with pytest.raises(StateError, match="expected"):
            other.engine.restored("encoder", spoilt)


def test_answers_are_the_caller_s_own(stand):
    given = pieces(8, (16, 16))
    first, caches = stand.engine.encode(given[0], None)
    kept = first.copy()
    stand.engine.encode(given[1], caches)
    np.testing.assert_array_equal(first, kept)


def test_the_prior_is_that_of_onnx(stand, onnx):
    for seed, size in enumerate([(48, 64), (32, 96), (48, 64)]):
        rgb = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
        assert_same([stand.engine.occlusion(rgb)], [onnx.occlusion(rgb)])
    assert stand.networks.opened_roles == ["prior"] * 2


def test_pictures_that_the_prior_was_not_built_for_go_to_onnx_runtime(driver, bundle, onnx):
    stand = Stand(driver, bundle, most_pixels=48 * 64)
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    assert_same([stand.engine.occlusion(rgb)], [onnx.occlusion(rgb)])
    assert stand.networks.opened_roles == []


def test_addresses_are_set_once_and_a_step_is_one_launch(driver, bundle):
    """Nothing is allocated or captured any more once a shape was met, but for what the caller is given."""
    stand = Stand(driver, bundle)
    latents = drawn(9, 16, 2, 4, 4)
    held = stand.engine.control(latents)
    graphs = stand.engine.device.networks.graphs
    assert graphs.count == 2
    stand.engine.velocity(latents, held, 0)
    launches, captures = driver.called["cuGraphLaunch"], driver.called["cuStreamBeginCapture"]
    runs = stand.networks.runs["step"]
    for row in range(3):
        stand.engine.velocity(latents, held, row)
    assert driver.called["cuGraphLaunch"] == launches + 3
    assert driver.called["cuStreamBeginCapture"] == captures
    assert stand.networks.runs["step"] == runs + 3
    assert (graphs.count, stand.engine.graphs_refused) == (2, {})


def test_an_engine_that_refuses_capture_runs_as_it_is_and_says_so_once(driver, bundle, onnx, caplog):
    stand = Stand(driver, bundle, refusing=("step", "decoder_next"))
    with caplog.at_level(logging.WARNING):
        for width in (4, 6):
            latents = drawn(width, 16, 2, 4, width)
            found = stand.engine.velocity(latents, stand.engine.control(latents), 1)
            assert_same([found], [onnx.velocity(latents, onnx.control(latents), 1)])
        given = [drawn(seed, 16, 2, 4) for seed in range(4)]
        assert_same(streamed(stand.engine.decode, given), streamed(onnx.decode, given))
    said = [record.getMessage() for record in caplog.records if "without a graph" in record.getMessage()]
    assert [line.split()[0] for line in said] == ["step", "decoder"]
    assert "does not let the engine step be captured" in stand.engine.graphs_refused["step"]
    # The controls of both shapes, and the decoder's first step.
    assert stand.engine.device.networks.graphs.count == 3


def test_networks_that_compute_elsewhere_are_those_of_onnx(driver, bundle, onnx):
    """As test_trt_gpu.py has them, where there is no TensorRT."""
    device = device_of(open_context(), None, WHY)
    networks = CopiedNetworks(bundle, device)
    engine = SlimEngine(bundle, device, networks, networks, "copied")
    given = pieces(16, (16, 32))
    latents = streamed(engine.encode, given)
    assert_same(latents, streamed(onnx.encode, given))
    assert_same(streamed(engine.decode, latents), streamed(onnx.decode, latents))
    assert engine.graphs_refused.keys() == {"encoder", "decoder"}


def test_a_driver_that_captures_nothing_costs_graphs_and_nothing_else(driver, bundle, onnx):
    driver.refuses_capture = True
    stand = Stand(driver, bundle)
    given = pieces(10, (16, 16))
    assert_same(streamed(stand.engine.encode, given), streamed(onnx.encode, given))
    assert "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED" in stand.engine.graphs_refused["encoder"]


def test_memory_that_is_not_there_is_told_with_the_setting_to_change(driver, bundle, onnx):
    """And the engine goes on with what does fit."""
    stand = Stand(driver, bundle)
    small, large = drawn(11, 16, 2, 4, 4), drawn(11, 16, 2, 32, 32)
    held = stand.engine.control(small)
    driver.limit_bytes = driver.used_bytes + (1 << 16)
    said = r"memory does not hold \[16, 2, 32, 32\] .*; use a smaller --region, or a bundle with smaller profiles"
    with pytest.raises(EngineError, match=said):
        stand.engine.control(large)
    assert_same([stand.engine.velocity(small, held, 0)], [onnx.velocity(small, onnx.control(small), 0)])


def test_coders_and_windows_of_sizes_that_are_gone_are_let_go(driver, bundle):
    """A video may have a region of another size every minute."""
    stand = Stand(driver, bundle)
    used = []
    for width in (16, 32, 48, 64, 80, 96, 16, 32, 48, 64, 80, 96):
        streamed(stand.engine.encode, pieces(width, (16, width), 2))
        gc.collect()
        used.append(driver.used_bytes)
    assert MOST_FREE == 2
    # In the order of their bytes: the second time no more is held than at the end of the first.
    assert max(used[6:]) <= used[5]


@pytest.mark.parametrize(
    ("row", "said"), [(1000, r"expected a row below \d+, got 1000"), (-1, r"expected a row below \d+, got -1")]
)
def test_rows_beyond_the_table_are_refused(stand, row, said):
    latents = drawn(12, 16, 1, 2, 2)
    held = stand.engine.control(latents)
    with pytest.raises(EngineError, match=rf"--engine trt failed on \[16, 1, 2, 2\] \(expected a row .* got {row}\)"):
        stand.engine.velocity(latents, held, row)


def test_frames_that_are_no_numbers_are_refused(stand):
    with pytest.raises(EngineError, match="values that are no numbers"):
        stand.engine.decode(np.full((16, 2, 2), np.nan, np.float32), None)


def test_without_kernels_latents_and_pictures_stay_on_the_host(driver, bundle, caplog):
    with caplog.at_level(logging.WARNING):
        stand = Stand(driver, bundle)
    assert isinstance(stand.engine.side, HostSide)
    assert f"stay on the host: {WHY}" in caplog.text
