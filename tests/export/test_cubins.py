"""Our compiled kernels as files of a bundle: which ones, under hashes, and what a bundle without them is."""

from __future__ import annotations

import json
import shutil

import pytest

torch = pytest.importorskip("torch", reason="the exporter is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[export]'")

from clear_rt.bundle import EMBEDDED, open_bundle  # noqa: E402
from clear_rt.errors import BundleError, EngineError  # noqa: E402
from clear_rt.export import cubins  # noqa: E402
from clear_rt.export.cubin_builder import is_wanted  # noqa: E402
from clear_rt.export.cubins import write_cubins  # noqa: E402


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """For an A100, in fp16, for heads that attention has no kernels for; and the manifest's entry."""
    folder = tmp_path_factory.mktemp("cubins") / "bundle"
    folder.mkdir()
    return folder, write_cubins(folder, (80, 75, 80), "fp16", 96)


@pytest.fixture
def bundle(compiled, tmp_path):
    """A bundle that holds them."""
    target = shutil.copytree(EMBEDDED, tmp_path / "bundle")
    shutil.copytree(compiled[0], target, dirs_exist_ok=True)
    change(target, lambda manifest: manifest["generator"].update(kernels=compiled[1]))
    return target


def change(folder, edit):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    path.write_text(json.dumps(manifest))


def test_the_ones_of_the_bundle_are_compiled(compiled):
    folder, entry = compiled
    names = {key.removesuffix(".sm_80") for key in entry["cubins"]}
    assert {"window_step-fp16", "window_step-fp32", "fade_overlap", "yuv_to_input-u16-fp32"} <= names
    assert {"composite-u8-fp32-chroma-field", "pull_push-settle-error"} <= names
    assert not any("bf16" in name or "attention" in name for name in names)
    assert {path.name for path in folder.iterdir()} == {"launches.json", *(f"{key}.cubin" for key in entry["cubins"])}
    assert [*folder.parent.iterdir()] == [folder]


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("occlusion_attention-bf16-d128-bias", True),
        ("occlusion_attention_hopper-bf16-d128", True),
        ("occlusion_attention-bf16-d64-bias", False),
        ("occlusion_attention-fp16-d128-bias", False),
        ("occlusion_attention_plugin-bf16-d128", False),
        ("hold_overlap", True),
        ("gelu-bf16", False),
    ],
)
def test_variants_are_wanted_by_their_names(name, wanted):
    assert is_wanted(name, "bf16", 128) is wanted


def test_a_bundle_with_kernels_opens_verified(bundle, compiled):
    opened, without = open_bundle(bundle), sum(path.stat().st_size for path in compiled[0].iterdir())
    kernels = opened.generator.kernels.for_gpu(86)
    assert kernels["window_step-fp16"].launch.arguments["velocity_ptr"] == "*fp16"
    assert kernels["window_step-fp16"].code == (bundle / "window_step-fp16.sm_80.cubin").read_bytes()
    assert opened.bytes_total > without


def test_a_bundle_without_kernels_is_whole():
    assert open_bundle().generator.kernels is None


@pytest.mark.parametrize("name", ["window_step-fp16.sm_80.cubin", "launches.json"])
def test_an_altered_file_is_refused(bundle, name):
    (bundle / name).write_bytes((bundle / name).read_bytes() + b" ")
    with pytest.raises(BundleError, match=rf"{name} does not match its manifest"):
        open_bundle(bundle)


def test_an_entry_that_names_less_than_it_launches_is_refused(bundle):
    change(bundle, lambda manifest: manifest["generator"]["kernels"]["cubins"].pop("fade_overlap.sm_80"))
    with pytest.raises(BundleError, match=r"launches\.json holds 'fade_overlap\.sm_80', expected only"):
        open_bundle(bundle)


def test_nothing_is_compiled_where_nothing_can_be(tmp_path, monkeypatch):
    assert write_cubins(tmp_path, (75,), "bf16", 128) is None
    monkeypatch.setattr(cubins, "find_spec", lambda name: None)
    assert write_cubins(tmp_path, (80,), "bf16", 128) is None
    assert [*tmp_path.iterdir()] == []


def test_a_compiler_that_fails_is_one_sentence(tmp_path, monkeypatch):
    folder = tmp_path / "bundle"
    folder.mkdir()
    monkeypatch.setattr(cubins.sys, "executable", shutil.which("false"))
    with pytest.raises(EngineError, match="expected our kernels to compile for sm_80, Triton said: status 1") as raised:
        write_cubins(folder, (80,), "bf16", 128)
    assert "\n" not in str(raised.value)
    assert [*folder.iterdir()] == []
