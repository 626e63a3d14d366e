"""Copies of parts of arrays, and arrays to the GPU and back, on the memory of `host_driver`."""

import gc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.errors import EngineError
from clear_rt.runtime.device import gpu_count
from clear_rt.runtime.slim.context import open_context
from clear_rt.runtime.slim.copies import copy
from clear_rt.runtime.slim.crossing import MOST_WAITING, Crossing
from clear_rt.runtime.slim.graphs import Graphs
from clear_rt.runtime.slim.memory import Memory
from clear_rt.runtime.slim.stream import new_stream
from tests.runtime.host_driver import host_driver

pytestmark = pytest.mark.skipif(gpu_count() > 0, reason="a GPU is here: test_slim_gpu.py runs on it")


class There:
    """A stream, memory and a crossing on the host."""

    def __init__(self, driver):
        self.driver, self.context = driver, open_context()
        self.memory, self.stream = Memory(self.context), new_stream(self.context)
        self.crossing = Crossing(self.memory)

    def put(self, array):
        return self.crossing.to_device(self.stream, array)

    def host(self, array):
        return self.crossing.to_host(self.stream, array)


@pytest.fixture
def there():
    with host_driver() as driver:
        yield There(driver)


def slices(size):
    """Not empty, with steps of 1 to 3."""
    return st.tuples(st.integers(0, size - 1), st.integers(1, size), st.integers(1, 3)).map(
        lambda drawn: slice(drawn[0], min(size, drawn[0] + drawn[1]), drawn[2])
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_a_part_of_an_array_is_copied_into_a_part_of_another(data):
    with host_driver() as driver:
        there = There(driver)
        shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=1, max_size=4)))
        part = tuple(data.draw(slices(size)) for size in shape)
        source = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
        target = -np.ones([size + data.draw(st.integers(0, 2)) for size in source[part].shape], np.float32)
        place = tuple(slice(0, size) for size in source[part].shape)
        given_, made = there.put(source), there.put(target)
        copy(there.stream, made[place], given_[part])
        target[place] = source[part]
        np.testing.assert_array_equal(there.host(made), target)
        np.testing.assert_array_equal(there.host(given_[part]), source[part])


def test_latents_of_a_window_are_one_copy_and_so_is_a_whole_array(there):
    latents = there.put(np.arange(3 * 9 * 2 * 4, dtype=np.float32).reshape(3, 9, 2, 4))
    window, other = (there.memory.empty(there.stream, shape, "fp32") for shape in ((3, 5, 2, 4), (3, 9, 2, 4)))
    copy(there.stream, window, latents[:, 2:7])
    copy(there.stream, other, latents)
    called = there.driver.called
    assert (called["cuMemcpy2DAsync"], called["cuMemcpyDtoDAsync"]) == (1, 1)
    np.testing.assert_array_equal(there.host(window), there.host(latents)[:, 2:7])


def test_copies_of_other_forms_are_refused(there):
    first, second = there.put(np.zeros((2, 3), np.float32)), there.put(np.zeros((2, 3), np.int64))
    for other in (second, first[:1]):
        with pytest.raises(ValueError, match=r"expected to copy fp32 \[2, 3\] into an array of that form"):
            copy(there.stream, other, first)


def test_copies_are_captured(there):
    first, second = there.put(np.arange(6, dtype=np.float32)), there.put(np.zeros(6, np.float32))
    graphs = Graphs(there.context)
    replay = graphs.captured(lambda stream: copy(stream, second, first), "copy", there.stream)
    copy(there.stream, first, there.put(np.full(6, 7, np.float32)))
    assert there.host(second)[1] == 1
    replay(there.stream)
    np.testing.assert_array_equal(there.host(second), np.full(6, 7, np.float32))


def test_memory_cannot_be_asked_for_within_a_capture(there):
    graphs = Graphs(there.context)
    graphs.captured(lambda stream: there.memory.empty(stream, (3,), "fp32"), "allocating", there.stream)
    assert "memory from before the capture" in graphs.refused["allocating"]


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.uint16, np.int64, bool])
def test_arrays_cross_in_their_own_type(there, dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    for one in (array, array[:0]):
        found = there.host(there.put(one))
        assert found.dtype == one.dtype
        np.testing.assert_array_equal(found, one)
    np.testing.assert_array_equal(there.host(there.put(array).swapaxes(0, 1)), array.swapaxes(0, 1))
    with pytest.raises(EngineError, match="expected elements of"):
        there.put(np.zeros(3, complex))


def test_pinned_memory_serves_again_and_is_let_go(there):
    for _ in range(3):
        there.host(there.put(np.zeros(100, np.float32)))
        gc.collect()
    assert there.driver.called["cuMemHostAlloc"] <= 2
    held = [there.crossing.buffer(size_bytes) for size_bytes in range(1, 2 * MOST_WAITING)]
    del held
    gc.collect()
    there.crossing.buffer(1 << 10)
    assert len(there.crossing._waiting) == MOST_WAITING


def test_what_is_sent_may_be_changed_by_the_caller_at_once(there):
    """The copy begins later, from memory that is the crossing's own."""
    array = np.arange(50, dtype=np.float32)
    sent = there.put(array)
    array[:] = -1
    again = there.put(np.full(50, 3, np.float32))
    np.testing.assert_array_equal(there.host(sent), np.arange(50))
    np.testing.assert_array_equal(there.host(again), np.full(50, 3))


def test_threads_do_not_meet(there):
    def crossed(seed):
        array = np.random.default_rng(seed).standard_normal((40, 7), dtype=np.float32)
        stream = new_stream(there.context)
        return all(
            (there.crossing.to_host(stream, there.crossing.to_device(stream, array)) == array).all() for _ in range(20)
        )

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(crossed, range(12)))
