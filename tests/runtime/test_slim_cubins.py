"""Cubins without a GPU: what the code says of its parameters against the launch metadata, and what is refused."""

import ctypes
import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest

from clear_rt.errors import BundleError, EngineError
from clear_rt.manifest import Entry, Files
from clear_rt.runtime.slim.arrays import DeviceArray, dense_strides
from clear_rt.runtime.slim.context import Context
from clear_rt.runtime.slim.elf import read_cubin
from clear_rt.runtime.slim.kernel_files import KernelsSpec, chosen, read_kernels
from clear_rt.runtime.slim.kernels import LoadedKernels, check_scratch
from clear_rt.runtime.slim.launch import layout, packed
from clear_rt.runtime.slim.stream import Stream
from tests.runtime.conftest import CHIPS

# As an H100 says of itself; nothing here is launched.
CONTEXT = Context(handle=1, ordinal=0, name="none", capability=90, multiprocessors=132, shared_bytes=232_448)
STREAM = Stream(CONTEXT, 7)
C_TYPES = {"i32": ctypes.c_int32, "i64": ctypes.c_int64, "fp32": ctypes.c_float}


def array(dtype, pointer=4096, shape=(4,)):
    return DeviceArray(pointer, shape, dense_strides(shape), dtype, STREAM, None)


def everything(spec):
    return [(chip, name, cubin) for chip, cubins in spec.cubins.items() for name, cubin in cubins.items()]


def c_struct(kinds):
    """The same parameters as C lays them out."""
    fields = [(f"p{i}", ctypes.c_uint64 if kind[0] == "*" else C_TYPES[kind]) for i, kind in enumerate(kinds)]
    return type("Parameters", (ctypes.Structure,), {"_fields_": fields})


def test_code_has_the_parameters_that_its_launch_says(kernels_spec):
    assert sorted(kernels_spec.cubins) == [*CHIPS]
    for chip, name, cubin in everything(kernels_spec):
        found, kinds = read_cubin(cubin.code), cubin.launch.kinds
        assert (found.capability, found.function) == (chip, cubin.launch.function), name
        assert found.parameters == layout(kinds), name
        c = c_struct(kinds)
        assert found.parameters == tuple((getattr(c, f).offset, getattr(c, f).size) for f, _ in c._fields_), name
        assert found.threads == cubin.launch.threads, name
        assert cubin.launch.trailing_pointers == 2, name


def test_it_is_read_as_cuobjdump_reads_it(kernels_folder, kernels_spec):
    from clear_rt.kernels.aot import NVIDIA_TOOLS

    for chip in CHIPS:
        path = kernels_folder / f"occlusion_attention-bf16-d128-bias.sm_{chip}.cubin"
        said = subprocess.run([NVIDIA_TOOLS / "cuobjdump", "-elf", path], check=True, capture_output=True, text=True)
        rows = re.findall(r"Ordinal : (\w+)\s+Offset  : (\w+)\s+Size    : (\w+)", said.stdout)
        wanted = sorted(tuple(int(value, 16) for value in row) for row in rows)
        assert [(i, *place) for i, place in enumerate(read_cubin(path.read_bytes()).parameters)] == wanted


def test_no_path_of_the_machine_is_in_the_code(kernels_spec, root):
    assert not any(str(root).encode() in cubin.code for _, _, cubin in everything(kernels_spec))


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("arguments", lambda v: v.replace("i32", "i64", 1), "offsets and sizes of parameters"),
        ("trailing_pointers", lambda v: v + 1, "offsets and sizes of parameters"),
        ("arguments", lambda v: v.replace("i32", "int", 1), "expected arguments of i32"),
        ("arguments", lambda v: v + " i32", "expected a name of its own for each of 14 arguments"),
        ("names", lambda v: v.replace("start", "total"), "expected a name of its own"),
        ("aligned", lambda v: v + " nothing", "'aligned' must be names of arguments"),
        ("name", lambda v: "other_kernel", "expected the kernel to be other_kernel"),
        ("threads", lambda v: 2 * v, "expected threads of a block to be 256"),
        ("threads", lambda v: 2048, "'threads' must be an integer of 1 to 1024"),
        ("shared_bytes", lambda v: -1, "'shared_bytes' must be an integer of 0"),
        ("constants", lambda v: [], "'constants' must be a JSON object"),
    ],
)
def test_other_metadata_is_refused(kernels_folder, tmp_path, field, value, said):
    entry = json.loads((kernels_folder / "manifest.json").read_text())
    key = "window_step-bf16.sm_90"
    launches = json.loads((kernels_folder / "launches.json").read_text())
    launches = {key: launches[key] | {field: value(launches[key][field])}}
    shutil.copy(kernels_folder / f"{key}.cubin", tmp_path)
    refusal = refused(tmp_path, launches, {key: entry["cubins"][key]})
    assert said in refusal


def refused(folder, launches, cubins):
    """The sentence with which a bundle of these is refused; its hashes are right."""
    from clear_rt.export.stored import file_entry

    (folder / "launches.json").write_text(json.dumps(launches))
    entry = {"launches": file_entry(folder / "launches.json"), "cubins": cubins}
    with pytest.raises(BundleError) as raised:
        read_kernels(Entry(entry, "manifest.json"), Files(folder))
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_other_files_are_refused(kernels_folder, tmp_path):
    from clear_rt.export.stored import file_entry

    key = "window_step-bf16.sm_90"
    path, launch = tmp_path / f"{key}.cubin", json.loads((kernels_folder / "launches.json").read_text())[key]
    code = (kernels_folder / path.name).read_bytes()
    path.write_bytes(code)
    whole = file_entry(path)
    assert "lacks 'window_step-bf16.sm_90'" in refused(tmp_path, {}, {key: whole})
    assert "expected kernels like NAME.sm_90" in refused(tmp_path, {"window_step": launch}, {"window_step": whole})
    path.write_bytes(code[:-1] + bytes([code[-1] ^ 1]))
    assert "does not match its manifest" in refused(tmp_path, {key: launch}, {key: whole})
    for damaged in (b"", code[:100], code[: len(code) // 2], b"\x7fELF" + bytes(200)):
        path.write_bytes(damaged)
        assert "that are none" in refused(tmp_path, {key: launch}, {key: file_entry(path)})
    older = tmp_path / "window_step-bf16.sm_80.cubin"
    older.write_bytes(code)
    key = older.stem
    assert "expected code for the chip to be sm_80" in refused(tmp_path, {key: launch}, {key: file_entry(older)})


@pytest.mark.parametrize(
    ("there", "gpu", "found"),
    [
        ((80, 90), 90, 90),
        ((80, 90), 80, 80),
        ((80, 90), 89, 80),
        ((80, 86, 89), 87, 86),
        ((86,), 80, None),
        ((80,), 90, None),
        ((90,), 100, None),
        ((100,), 103, None),
        ((120,), 121, None),
        ((), 90, None),
    ],
)
def test_a_gpu_gets_code_for_itself_or_for_older_ones_of_its_generation(there, gpu, found):
    assert chosen(there, gpu) == found


def test_a_gpu_without_code_is_told_what_there_is(kernels_spec):
    with pytest.raises(EngineError, match=r"for this GPU, sm_100, found those for sm_80, sm_90; build .*sm_100"):
        LoadedKernels(kernels_spec, replace(CONTEXT, capability=100))
    with pytest.raises(EngineError, match="found those for none"):
        KernelsSpec({}).for_gpu(90)


def test_a_gpu_with_too_little_shared_memory_is_refused_before_anything_runs(kernels_spec):
    with pytest.raises(EngineError, match=r"at most 166912 bytes of shared memory, .* got 2304"):
        LoadedKernels(kernels_spec, replace(CONTEXT, shared_bytes=166_912))


def test_a_kernel_that_is_not_there_is_named_with_those_that_are(kernels_spec):
    loaded = LoadedKernels(kernels_spec, CONTEXT)
    with pytest.raises(EngineError, match="kernel window_step-fp16 in the bundle, found window_step-bf16, window"):
        loaded.launch_of("window_step-fp16")
    with pytest.raises(EngineError, match="found none of gelu"):
        loaded.launch_of("gelu-bf16")


def test_arguments_are_packed_as_c_would(kernels_spec):
    launch = kernels_spec.cubins[90]["occlusion_attention_hopper-bf16-d128-bias"].launch
    values = {}
    for i, (name, kind) in enumerate(launch.arguments.items()):
        values[name] = array(kind[1:], pointer=4096 * (i + 1)) if kind[0] == "*" else 16 * (i - 7)
    struct = c_struct(launch.kinds).from_buffer_copy(packed(launch, values, scratch=1 << 40))
    found = [getattr(struct, field) for field, _ in struct._fields_]
    assert found[:-2] == [value if isinstance(value, int) else value.pointer for value in values.values()]
    assert found[-2:] == [1 << 40, 0]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("start", None, "expected arguments .*step_ptr, start.*, got"),
        ("start", 1 << 31, "expected start as i32, got 2147483648"),
        ("start", 1.0, "expected start as i32, got 1.0"),
        ("start", array("fp32"), "expected start as i32, got an array of fp32"),
        ("velocity_ptr", array("fp32"), r"expected velocity_ptr as \*bf16, got an array of fp32"),
        ("velocity_ptr", 4096, r"expected velocity_ptr as \*bf16, got 4096"),
        ("latents_ptr", array("fp32", pointer=4100), "expected latents_ptr in multiples of 16, got 4100"),
    ],
)
def test_arguments_of_another_kind_are_refused(kernels_spec, name, value, said):
    launch = kernels_spec.cubins[90]["window_step-bf16"].launch
    values = {n: array(kind[1:]) if kind[0] == "*" else 3 for n, kind in launch.arguments.items()}
    assert len(packed(launch, values)) == 0x68
    values |= {name: value}
    if value is None:
        del values[name]
    with pytest.raises(EngineError, match=said):
        packed(launch, values)


def test_scratch_memory_is_asked_for_by_the_program(kernels_spec):
    launch = kernels_spec.cubins[90]["occlusion_attention_hopper-bf16-d128-bias"].launch
    check_scratch(launch, (132, 1, 1), array("u8", shape=(132 * launch.scratch_bytes,)))
    for scratch in (None, array("u8", shape=(100,)), array("u8", pointer=4160, shape=(1 << 20,))):
        with pytest.raises(EngineError, match=r"expected 67584 bytes of scratch memory in multiples of 128"):
            check_scratch(launch, (132, 1, 1), scratch)
    check_scratch(kernels_spec.cubins[80]["hold_overlap"].launch, (5, 2, 1), None)
