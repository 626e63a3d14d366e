"""The attention kernel as PTX for a TensorRT plugin: what is left out is unused, and what is left assembles and runs.

Compilers run in a process of their own: without a GPU this one has turned kernels over to Triton's interpreter.
"""

import json
import os
import re
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[export]'")

from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.export.plugin_ptx import PluginKernel, assembled, plugin_kernel, stripped  # noqa: E402
from clear_rt.kernels.aot import Resources  # noqa: E402
from clear_rt.kernels.chips import CAPABILITIES, INTERPRETED, SHARED_BYTES, capability_of  # noqa: E402

# Two arguments; behind them what Triton appends, of whose names one begins with another.
PTX = """
.version 8.7
.target sm_80
.address_size 64
.visible .entry add_one(
\t.param .u64 .ptr .global .align 16 add_one_param_0,
\t.param .u32 add_one_param_1,
\t.param .u64 .ptr .global .align 1 add_one_param_10,
\t.param .align 64 .b8 add_one_param_100[128]
)
.reqntid 32
{
\t.reg .b32 \t%r<3>;
\t.reg .b64 \t%rd<3>;
\t.loc\t1 25 0                          // /home/somebody/kernel.py:25:0
\tld.param.b64 \t%rd1, [add_one_param_0];
\tld.param.b32 \t%r1, [add_one_param_1];
\tadd.s32 \t%r2, %r1, 1;
\tcvta.to.global.u64 \t%rd2, %rd1;
\tst.global.b32 \t[%rd2], %r2;
\tret;
}
\t.file\t1 "/home/somebody/kernel.py"
\t.section\t.debug_str
\t{
.b8 97
\t}
"""


def test_what_is_unused_is_left_out():
    found = stripped(PTX, 2)
    assert found.count(".param .") == 2
    assert "add_one_param_10" not in found
    for gone in (".loc", ".file", ".section", "somebody"):
        assert gone not in found
    for kept in ("add_one_param_1\n)", ".reqntid 32", "ld.param.b32 \t%r1, [add_one_param_1];", ".version 8.7", "ret;"):
        assert kept in found
    assert assembled(found, 80)[:4] == b"\x7fELF"
    assert stripped(found, 2) == found


@pytest.mark.parametrize(
    "use",
    [
        "ld.param.b64 \t%rd2, [add_one_param_10];",
        "ld.param.b64 \t%rd2, [add_one_param_10+0];",
        "mov.b64 \t%rd2, add_one_param_100;",
        "ld.param::entry.b64 %rd2,[add_one_param_100+64];",
    ],
)
def test_what_is_used_is_refused(use):
    name = "add_one_param_100" if "100" in use else "add_one_param_10"
    with pytest.raises(EngineError, match=f"^add_one: expected code that needs the 2 arguments .* found {name} in use"):
        stripped(PTX.replace("\tret;", f"\t{use}\n\tret;"), 2)


@pytest.mark.parametrize(
    ("ptx", "arguments", "said"),
    [
        ("", 2, "expected PTX of one kernel, found 0"),
        (PTX + PTX, 2, "expected PTX of one kernel, found 2"),
        (PTX, 5, "add_one: expected 5 parameters, found 4"),
        (PTX.replace("add_one_param_100[128]", "?"), 2, "expected a parameter of PTX, found '.param .align 64 .b8 .'"),
    ],
)
def test_what_is_no_such_kernel_is_refused(ptx, arguments, said):
    with pytest.raises(EngineError, match=said) as caught:
        stripped(ptx, arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", [("8.7", "99.9"), ("ret;", "return;"), ("%r<3>", "%r<2>"), ("sm_80", "sm_8")])
def test_ptx_that_does_not_assemble_is_refused_in_one_sentence(damage):
    with pytest.raises(EngineError, match=r"^expected PTX that assembles for sm_80, ptxas said: .+") as caught:
        assembled(stripped(PTX, 2).replace(*damage), 80)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("queries", "blocks"), [(1, 1), (127, 1), (128, 1), (129, 2), (20_160, 158), (75_600, 591)])
def test_the_grid_covers_every_query(queries, blocks):
    kernel = PluginKernel("attention", "", 256, 128, Resources(1, 0, 2))
    assert kernel.launched((2, queries, 12, 64), (2, 7, 12, 64)) == ((blocks, 12, 2), (queries, 7))


def test_another_kernel_has_another_hash():
    kernels = [PluginKernel("attention", ptx, 256, 128, Resources(1, 0, 2)) for ptx in ("a", "a", "b")]
    first, again, other = (kernel.sha256 for kernel in kernels)
    assert first == again != other


@pytest.mark.skipif(not INTERPRETED, reason="there is a GPU, so that Triton compiles here")
def test_the_interpreter_makes_no_ptx():
    with pytest.raises(EngineError, match="expected Triton's compiler, found its interpreter"):
        plugin_kernel(90, "bf16", 128)


_COMPILED = """
import json
from dataclasses import asdict
from clear_rt.errors import EngineError
from clear_rt.export.plugin_ptx import PTX_VERSION, plugin_kernel, stripped
from clear_rt.kernels import aot
from clear_rt.kernels.chips import CAPABILITIES

def said(call):
    try:
        return call()
    except EngineError as error:
        return str(error)

kernels = {chip: asdict(plugin_kernel(chip, "bf16", 128)) for chip in CAPABILITIES}
name = "occlusion_attention_hopper-bf16-d128-bias"
scratch = aot.variants(90)[name]
descriptors = aot.built(scratch, 90, ptx_version=PTX_VERSION)
refused = [said(lambda: stripped(descriptors.asm["ptx"], len(scratch.arguments)))]
refused += [said(lambda: plugin_kernel(*wrong)) for wrong in ((75, "bf16", 128), (90, "fp32", 128), (90, "bf16", 96))]
print(json.dumps({"kernels": kernels, "refused": refused, "scratch_bytes": descriptors.metadata.global_scratch_size}))
"""


@pytest.fixture(scope="module")
def compiled(root):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run(
        [sys.executable, "-c", _COMPILED], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("capability", CAPABILITIES)
def test_every_chip_gets_a_kernel_that_a_plugin_can_launch(compiled, root, capability):
    kernel = compiled["kernels"][str(capability)]
    ptx, used = kernel["ptx"], kernel["resources"]
    head, body = ptx.split(")\n", 1)
    # Inputs, int32, output, and no newer PTX than driver 580 reads.
    kinds = [line.split()[1] for line in head.splitlines() if line.strip().startswith(".param")]
    assert kinds == [".u64"] * 4 + [".u32"] * 2 + [".u64"]
    assert f".target sm_{capability}" in head
    assert ".version 8.7" in head
    assert body.startswith(f".reqntid {kernel['threads']}\n")
    # A plugin launches no clusters of blocks.
    assert not re.search(r"\.reqnctapercluster|\.explicitcluster|barrier\.cluster", ptx)
    assert str(root) not in ptx
    assert (used["stack_bytes"], kernel["block_queries"]) == (0, 128)
    assert 0 < used["shared_bytes"] <= SHARED_BYTES[capability]
    assert f".entry {kernel['name']}(" in head


def test_a_kernel_that_needs_scratch_is_refused(compiled):
    """The one for Hopper makes its tensor descriptors in memory that a launcher has to give it."""
    assert compiled["scratch_bytes"] > 0
    assert "found occlusion_attention_hopper_kernel_param_" in compiled["refused"][0]
    assert "in use" in compiled["refused"][0]


def test_what_no_kernel_is_made_for_is_refused(compiled):
    chip, dtype, width = compiled["refused"][1:]
    assert chip.startswith("expected a chip of 80, 86, 89, 90, 100, 120, found sm_75")
    assert "found fp32 and 128" in dtype
    assert "found bf16 and 96" in width


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "fp16"), (torch.bfloat16, "bf16")])
@pytest.mark.parametrize("sizes", [(2, 131, 300, 3, 64), (1, 1, 1, 1, 128), (1, 20_160, 20_160, 12, 128)])
def test_the_arguments_of_a_plugin_launch_it_on_a_gpu(dtype, name, sizes):
    """By cuda-core, as TensorRT would: pointers and int32 in order, nothing else, on PTX that the driver compiles."""
    core = pytest.importorskip("cuda.core", reason="launched by cuda-core: pip install '.[cuda]'")
    driver = pytest.importorskip("cuda.bindings.driver", reason="launched by cuda-core: pip install '.[cuda]'")
    import numpy

    from tests.kernels.test_occlusion_attention import AROUND, among_nans, exactly

    batches, queries, keys, heads, width = sizes
    random = torch.Generator("cuda").manual_seed(0)
    q, k, v = (
        torch.randn(batches, tokens, heads, width, generator=random, device="cuda").to(dtype)
        for tokens in (queries, keys, keys)
    )
    bias = -4 * torch.rand(batches, heads, keys, generator=random, device="cuda")
    memory, out = among_nans(q.shape, q)
    torch.cuda.synchronize()

    kernel = plugin_kernel(capability_of(q), name, width)
    device = core.Device(q.device.index)
    device.set_current()
    loaded = core.ObjectCode.from_ptx(kernel.ptx.encode()).get_kernel(kernel.name)
    shared_bytes = kernel.resources.shared_bytes
    limit = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
    (status,) = driver.cuKernelSetAttribute(limit, shared_bytes, loaded.handle, driver.CUdevice(q.device.index))
    assert status == driver.CUresult.CUDA_SUCCESS
    assert loaded.num_arguments == 7
    grid, scalars = kernel.launched(q.shape, k.shape)
    config = core.LaunchConfig(grid=grid, block=kernel.threads, shmem_size=shared_bytes)
    pointers_in = [x.data_ptr() for x in (q, k, v, bias)]
    stream = device.create_stream()
    core.launch(stream, config, loaded, *pointers_in, *map(numpy.int32, scalars), out.data_ptr())
    stream.sync()

    assert out.isfinite().all()
    assert memory[:AROUND].isnan().all()
    assert memory[-AROUND:].isnan().all()
    rows = torch.tensor(sorted({0, queries // 2, queries - 1}), device="cuda")
    for head in range(heads):
        one = slice(head, head + 1)
        exact = exactly(q[:, rows, one], k[:, :, one], v[:, :, one], bias[:, one])
        assert ((out[:, rows, one].double() - exact.out).abs() <= exact.out_error).all()
