"""States as bytes: what was put in comes out, and whatever is damaged, foreign or not as expected is refused."""

import hashlib
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hypothesis_numpy

from clear_rt.states import StateError, integers, numbered, packed, unpacked, within

ARRAYS = hypothesis_numpy.arrays(
    st.sampled_from([np.float32, np.float16, np.uint16, np.uint8, np.int64]),
    hypothesis_numpy.array_shapes(min_dims=1, max_dims=5, min_side=0, max_side=4),
)


def _some():
    yield "count", integers(3)
    yield from within("part", numbered("cache", [np.arange(6, dtype=np.float32).reshape(2, 3), np.zeros(2, np.uint16)]))


@settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text(max_size=20), ARRAYS, max_size=6))
def test_arrays_come_out_as_they_went_in(arrays):
    stored = unpacked(packed(arrays.items()))
    for name, array in arrays.items():
        found = stored.any(name)
        assert (found.dtype, found.shape, found.tobytes()) == (array.dtype, array.shape, array.tobytes())


def test_views_and_parts():
    wide = np.arange(24, dtype=np.float32).reshape(4, 6)
    stored = unpacked(packed(within("a", iter([("view", wide[::2, 1::2])]))))
    np.testing.assert_array_equal(stored.part("a").array("view", (2, 3)), wide[::2, 1::2])
    stored = unpacked(packed(_some()))
    assert stored.integer("count") == 3
    assert [len(array) for array in stored.part("part").numbered("cache")] == [2, 2]


def test_every_changed_byte_and_every_length_is_refused():
    data = packed(_some())
    for at in range(len(data)):
        damaged = bytearray(data)
        damaged[at] ^= 0x20
        for wrong in (bytes(damaged), data[:at]):
            with pytest.raises(StateError):
                unpacked(wrong)
    with pytest.raises(StateError, match="damaged"):
        unpacked(data + b"\0")


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_what_is_hashed_but_no_state_is_refused(body):
    begin = packed([])[:12]
    with pytest.raises(StateError):
        unpacked(body)
    if body:
        with pytest.raises(StateError, match="cannot be read"):
            unpacked(begin + body + hashlib.sha256(begin + body).digest())


def test_other_versions_and_pickles_are_refused():
    data = packed(_some())
    with pytest.raises(StateError, match="version 1, found version 2"):
        unpacked(data[:8] + b"\x02\0\0\0" + data[12:])
    with pytest.raises(StateError, match="something else"):
        unpacked(pickle.dumps([0] * 100))


@pytest.mark.parametrize("dtype", [object, np.float64, np.complex64, ">f4", bool])
def test_other_types_are_not_packed(dtype):
    with pytest.raises(ValueError, match="x: expected a type out of"):
        packed([("x", np.zeros(2, dtype))])


def test_reading_what_is_not_as_expected_is_refused():
    stored = unpacked(packed([*_some(), ("negative", np.array([-1]))]))
    for read, words in (
        (lambda: stored.any("none"), "none is missing"),
        (
            lambda: stored.part("part").array("cache.0", (3, 2)),
            r"part/cache\.0: expected float32 \[3, 2\], found float32",
        ),
        (lambda: stored.part("part").array("cache.0", (2, 3), np.uint16), "expected uint16"),
        (lambda: stored.integer("part/cache.0"), "expected int64"),
        (lambda: stored.integers("count", 2), "expected int64"),
        (lambda: stored.integer("negative"), "expected numbers of 0 or more, found -1"),
    ):
        with pytest.raises(StateError, match=words):
            read()
