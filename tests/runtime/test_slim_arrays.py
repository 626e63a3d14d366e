"""Arrays of a GPU as descriptions, which need none: views, strides, and the protocols by which others give and take."""

import gc
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.errors import EngineError
from clear_rt.runtime.slim import dlpack
from clear_rt.runtime.slim.arrays import DeviceArray, dense_strides
from clear_rt.runtime.slim.context import Context, handle_of
from clear_rt.runtime.slim.dtypes import DTYPES, named
from clear_rt.runtime.slim.interop import wrapped
from clear_rt.runtime.slim.planes import chroma_of
from clear_rt.runtime.slim.stream import Stream, wrapped_stream

CONTEXT = Context(handle=1, ordinal=3, name="none", capability=90, multiprocessors=132, shared_bytes=232_448)
STREAM = Stream(CONTEXT, 4096)
HALF_SAMPLES = np.dtype("<u2")


def described(host, dtype):
    """The array of the GPU that has the pointer, shape and strides of one of numpy's."""
    strides = tuple(stride // host.itemsize for stride in host.strides)
    return DeviceArray(host.ctypes.data, host.shape, strides, dtype, STREAM, host)


@dataclass
class Interface:
    """What anybody's array says of itself by the CUDA array interface."""

    shape: tuple
    typestr: str
    strides: tuple | None = None
    data: tuple = (4096, False)
    version: int = 3
    extra: dict = field(default_factory=dict)

    @property
    def __cuda_array_interface__(self):
        own = {name: getattr(self, name) for name in ("shape", "typestr", "strides", "data", "version")}
        return own | self.extra


class Allocation:
    """Memory that is an address by `int`, as pycuda documents of its DeviceAllocation."""

    def __int__(self):
        return 1 << 40


@given(st.lists(st.integers(0, 4), min_size=1, max_size=4).map(tuple), st.data())
def test_views_are_those_of_numpy(shape, data):
    host = np.zeros(shape, np.float32)
    index = []
    for count in shape[: data.draw(st.integers(1, len(shape)))]:
        part = st.slices(count).filter(lambda one: one.step is None or one.step > 0)
        index.append(data.draw(part if count == 0 else st.one_of(part, st.integers(-count, count - 1))))
    found, wanted = described(host, "fp32")[tuple(index)], host[(*index, ...)]
    assert found.shape == wanted.shape
    if wanted.size:
        assert found.pointer == wanted.ctypes.data
        steps = [got for got, count in zip(found.strides, found.shape, strict=True) if count > 1]
        assert steps == [s // 4 for s, count in zip(wanted.strides, wanted.shape, strict=True) if count > 1]
        assert found.is_dense == wanted.flags.c_contiguous


def test_indices_that_there_are_not_are_refused():
    array = described(np.zeros((3, 4), np.float32), "fp32")
    for index, error in ((3, IndexError), ((0, 0, 0), IndexError), (slice(None, None, -1), ValueError)):
        with pytest.raises(error):
            array[index]
    with pytest.raises(ValueError, match=r"expected 40 bytes without gaps for \[10\] of fp32, got 48 in \[3, 4\]"):
        array.viewed((10,))
    assert array.viewed((2, 12), "bf16").strides == (12, 1)


def test_the_interface_describes_the_array():
    array = described(np.zeros((3, 4), np.float32), "fp32")
    found = array.__cuda_array_interface__
    assert (found["shape"], found["typestr"], found["data"]) == ((3, 4), "<f4", (array.pointer, False))
    assert (found["strides"], found["stream"], found["version"]) == (None, 4096, 3)
    assert array[:, 1].__cuda_array_interface__["strides"] == (16,)
    default = DeviceArray(4096, (0,), (1,), "bf16", Stream(CONTEXT, 0), None, is_readonly=True)
    found = default.__cuda_array_interface__
    assert (found["data"], found["stream"], found["typestr"]) == ((0, True), 1, "<V2")


def test_what_has_the_interface_comes_in_as_it_is():
    given = Interface((3, 4), "<f4", strides=(32, 4), data=(8192, True))
    found = wrapped(given, STREAM)
    assert (found.pointer, found.shape, found.strides, found.dtype) == (8192, (3, 4), (8, 1), "fp32")
    assert found.is_readonly
    assert found.owner is given
    assert wrapped(Interface((2,), "<V2"), STREAM).dtype == "bf16"
    assert wrapped(Interface((8,), "|u1"), STREAM, shape=(2, 2), dtype="bf16").strides == (2, 1)
    # The stream it names is ours, for which nobody has to wait.
    assert wrapped(Interface((2,), "<i8", extra={"stream": 4096}), STREAM).dtype == "i64"
    assert wrapped(found, STREAM).pointer == found.pointer


def test_our_own_arrays_go_out_and_come_in_by_the_interface():
    array = described(np.zeros((6, 4), np.uint16), "u16")[::2, :3]
    found = wrapped(Interface(**{k: v for k, v in array.__cuda_array_interface__.items() if k != "stream"}), STREAM)
    assert (found.pointer, found.shape, found.strides, found.dtype) == (array.pointer, (3, 3), (8, 1), "u16")


def test_memory_and_arrays_like_those_of_pycuda_come_in():
    found = wrapped(Allocation(), STREAM, shape=(2, 3), dtype=np.float16)
    assert (found.pointer, found.strides, found.dtype, found.gpudata) == (1 << 40, (3, 1), "fp16", 1 << 40)

    class GpuArray:
        gpudata, shape, strides, dtype = Allocation(), (4, 2), (16, 2), HALF_SAMPLES

    found = wrapped(GpuArray(), STREAM)
    assert (found.pointer, found.shape, found.strides, found.dtype) == (1 << 40, (4, 2), (8, 1), "u16")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (np.zeros(3), r"expected an array on GPU 3, got ndarray on DLPack's device \(1, 0\)"),
        (Allocation(), "give shape and dtype where it is bare memory"),
        ([1, 2], "expected an array with __dlpack__ or __cuda_array_interface__, got list"),
        (Interface((2,), "<c8"), "expected elements of bool, u8, .*, got <c8"),
        (Interface((2,), ">f4"), "got >f4"),
        (Interface((2,), "<f4", strides=(6,)), r"strides in steps of the 4 bytes of fp32, got \[6\]"),
        (Interface((2,), "<f4", extra={"mask": 1}), "expected an array without a mask"),
    ],
)
def test_what_is_no_array_of_this_gpu_is_refused(given, said):
    with pytest.raises(EngineError, match=said) as raised:
        wrapped(given, STREAM)
    assert "\n" not in str(raised.value)


def test_bare_memory_of_nothing_is_refused():
    with pytest.raises(EngineError, match="expected an array or memory of a GPU, got list"):
        wrapped([1], STREAM, shape=(1,), dtype="fp32")


def test_types_have_one_name():
    for name, dtype in DTYPES.items():
        assert named(name) == named(dtype.typestr) == name
        assert np.dtype(dtype.host).itemsize == dtype.itemsize
    assert [named(np.dtype(one)) for one in ("float32", "uint8", "int64", "bool")] == ["fp32", "u8", "i64", "bool"]


class OnHost(DeviceArray):
    """Says that it lies on the CPU, where torch and numpy can look at it."""

    __slots__ = ()

    def __dlpack_device__(self):
        return 1, 0


@pytest.mark.parametrize("version", [None, (1, 0)])
def test_capsules_are_read_and_written_as_torch_does(version):
    torch = pytest.importorskip("torch", reason="torch is who we compare with: pip install '.[cuda]'")
    kinds = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.uint8: "u8",
             torch.int16: "i16", torch.int64: "i64", torch.bool: "bool", torch.float8_e4m3fn: "e4m3"}  # fmt: skip
    for dtype, name in kinds.items():
        tensor = torch.arange(24).reshape(2, 3, 4).to(dtype)[:, ::2, 1:]
        found = dlpack.imported(tensor.__dlpack__(max_version=version))
        assert (found.pointer, found.shape, found.dtype) == (tensor.data_ptr(), (2, 2, 3), name)
        assert found.strides == tensor.stride()
        array = OnHost(found.pointer, found.shape, found.strides, name, STREAM, found.owner)
        back = torch.utils.dlpack.from_dlpack(dlpack.exported(array, versioned=version is not None))
        assert back.data_ptr() == tensor.data_ptr()
        assert torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))


def test_capsules_keep_memory_until_nobody_needs_it():
    class Owner:
        gone = 0

        def __del__(self):
            Owner.gone += 1

    def array():
        host = np.arange(6, dtype=np.float32)
        return OnHost(host.ctypes.data, (6,), (1,), "fp32", STREAM, (host, Owner()))

    class Producer:
        """As numpy wants one."""

        def __init__(self, held):
            self.held = held

        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, **asked):
            return dlpack.exported(self.held, versioned="max_version" in asked)

    taken = np.from_dlpack(Producer(array()))
    gc.collect()
    assert Owner.gone == 0
    np.testing.assert_array_equal(taken, np.arange(6))
    del taken
    gc.collect()
    assert Owner.gone == 1
    for versioned in (False, True):
        capsule = dlpack.exported(array(), versioned=versioned)
        del capsule
    gc.collect()
    assert Owner.gone == 3


def test_a_capsule_is_taken_once():
    torch = pytest.importorskip("torch", reason="torch is who we compare with: pip install '.[cuda]'")
    capsule = torch.zeros(3).__dlpack__()
    torch.utils.dlpack.from_dlpack(capsule)
    with pytest.raises(EngineError, match="that nobody has taken, got b'used_dltensor'"):
        dlpack.imported(capsule)


def test_what_may_not_be_written_is_not_given_to_who_cannot_know():
    array = DeviceArray(4096, (2,), (1,), "fp32", STREAM, None, is_readonly=True)
    with pytest.raises(BufferError):
        array.__dlpack__(stream=-1)
    assert dlpack.imported(array.__dlpack__(stream=-1, max_version=(1, 0))).is_readonly
    with pytest.raises(BufferError):
        array.__dlpack__(stream=-1, max_version=(1, 0), dl_device=(1, 0))


def test_interleaved_chroma_is_two_views():
    plane = DeviceArray(4096, (4, 6, 2), (20, 2, 1), "u16", STREAM, None)
    cb, cr = chroma_of(plane)
    assert (cb.shape, cb.strides, cr.strides) == ((4, 6), (20, 2), (20, 2))
    assert (cb.pointer, cr.pointer) == (4096, 4098)


def test_dense_strides_count_axes_of_none_as_one():
    assert [dense_strides(shape) for shape in ((), (3,), (2, 0, 4))] == [(), (1,), (4, 4, 1)]


def test_streams_and_contexts_come_in_by_their_handles():
    class Protocol:
        def __cuda_stream__(self):
            return 0, 77

    class Handle:
        handle = 78

    assert [wrapped_stream(CONTEXT, one).handle for one in (Protocol(), Handle(), 79, None)] == [77, 78, 79, 0]
    assert wrapped_stream(CONTEXT, STREAM) is STREAM
    assert STREAM.__cuda_stream__() == (0, 4096)
    assert [handle_of(Handle()), handle_of(5)] == [78, 5]
    with pytest.raises(EngineError, match=r"expected a CUDA stream, .* got str"):
        wrapped_stream(CONTEXT, "stream")
    with pytest.raises(EngineError, match=r"expected a CUDA context, .* got str"):
        handle_of("context")
