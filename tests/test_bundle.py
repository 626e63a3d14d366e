"""Bundles: what is embedded opens, everything tampered with is refused with one sentence."""

from __future__ import annotations

import hashlib
import json
import re
import shutil

import numpy as np
import pytest

from clear_rt.bundle import EMBEDDED, open_bundle
from clear_rt.errors import BundleError, EngineError
from clear_rt.plans import PLAN_ROLES
from clear_rt.prior import Prior
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Box


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(EMBEDDED, tmp_path / "bundle")


def _edit(folder, **fields):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))


def _replace_graph(folder, data):
    """Another graph under a hash that is right."""
    prior = json.loads((folder / "manifest.json").read_text())["prior"]
    (folder / "prior.onnx").write_bytes(data)
    _edit(folder, prior=prior | {"sha256": hashlib.sha256(data).hexdigest()})


def test_the_embedded_bundle_is_small_and_whole():
    bundle = open_bundle()
    assert bundle.name == "clear-tiny"
    assert bundle.engines == ("onnx",)
    assert bundle.prior.parameters < 1_500_000
    assert sum(p.stat().st_size for p in EMBEDDED.iterdir()) < 30e6


@pytest.mark.parametrize("where", [0, 1000, -1])
def test_a_flipped_bit_is_refused(copy, where):
    data = bytearray((copy / "prior.onnx").read_bytes())
    data[where] ^= 1
    (copy / "prior.onnx").write_bytes(data)
    with pytest.raises(BundleError, match=r"prior\.onnx does not match its manifest"):
        open_bundle(copy)


def test_a_missing_graph_is_refused(copy):
    (copy / "prior.onnx").unlink()
    with pytest.raises(BundleError, match=r"prior\.onnx is missing"):
        open_bundle(copy)


@pytest.mark.parametrize("name", ["../prior.onnx", "/etc/passwd", "sub/prior.onnx", "..", "."])
def test_a_path_that_leaves_the_bundle_is_refused(copy, name):
    _edit(copy, prior={"file": name, "sha256": "0" * 64, "short_side_px": 360, "multiple_px": 16, "parameters": 1})
    with pytest.raises(BundleError, match="expected a plain file name"):
        open_bundle(copy)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '"x"', '{"format": 2}', '{"format": 1}', '{"format": 1, "name": "a", "engines": 3}']
)
def test_a_garbled_manifest_is_refused(copy, text):
    (copy / "manifest.json").write_text(text)
    with pytest.raises(BundleError):
        open_bundle(copy)


def test_a_folder_without_manifest_is_no_bundle(tmp_path):
    with pytest.raises(BundleError, match="is no bundle"):
        open_bundle(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        ("multiple_px", 0, "integer of 1 to 256"),
        ("multiple_px", 257, "integer of 1 to 256"),
        ("multiple_px", 16.0, "integer of 1 to 256"),
        ("multiple_px", True, "integer of 1 to 256"),
        ("short_side_px", 1, "integer of 2 to 4096"),
        ("short_side_px", 4097, "integer of 2 to 4096"),
        ("short_side_px", "360", "integer of 2 to 4096"),
        ("parameters", -1, "integer of 0"),
        ("parameters", None, "integer of 0"),
        ("file", 3, "one line of text"),
        ("file", "", "one line of text"),
        ("file", "a\0b", "one line of text"),
        ("sha256", ["x" * 500], "one line of text"),
    ],
)
def test_a_field_of_the_prior_out_of_range_is_refused(copy, field, value, expected):
    prior = json.loads((copy / "manifest.json").read_text())["prior"]
    _edit(copy, prior=prior | {field: value})
    with pytest.raises(BundleError, match=rf"'{field}' must be (an )?{expected}") as caught:
        open_bundle(copy)
    assert len(str(caught.value).splitlines()) == 1
    del prior[field]
    _edit(copy, prior=prior)
    with pytest.raises(BundleError, match=f"lacks '{field}'"):
        open_bundle(copy)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("engines", "onnx"),
        ("engines", []),
        ("engines", [1]),
        ("engines", [""]),
        ("engines", {"onnx": 1}),
        ("name", ""),
        ("name", 7),
        ("name", "two\nlines"),
        ("prior", None),
        ("prior", ["prior.onnx"]),
        ("format", True),
        ("format", 1.0),
    ],
)
def test_a_field_of_another_type_is_refused(copy, field, value):
    _edit(copy, **{field: value})
    with pytest.raises(BundleError, match=r"must be|bundle format"):
        open_bundle(copy)


def test_a_manifest_that_cannot_be_decoded_is_refused(copy):
    for data in (b"\xff\xfe{}", b"[" * 100_000):
        (copy / "manifest.json").write_bytes(data)
        with pytest.raises(BundleError, match="cannot be read"):
            open_bundle(copy)


def test_what_runs_is_what_was_hashed(copy):
    """The graph is read once: what happens to the file after its hash was checked changes nothing."""
    bundle = open_bundle(copy)
    (copy / "prior.onnx").write_bytes(b"not a graph")
    assert open_engine("onnx", bundle).occlusion(np.zeros((16, 16, 3), np.uint8)).shape == (16, 16)


@pytest.mark.parametrize("name", ["trt", "cuda"])
def test_an_engine_that_the_bundle_lacks_is_refused(name):
    with pytest.raises(EngineError, match=rf"--engine {name}: .* holds onnx only, .*use --engine onnx"):
        open_engine(name, open_bundle())


def _add_plans(folder):
    """Files that pass for engines, for a GPU that nobody has."""
    manifest = json.loads((folder / "manifest.json").read_text())
    plan = {"file": "prior.onnx", "sha256": manifest["prior"]["sha256"], "activation_bytes": 0}
    plans = {"library": "tensorrt_rtx", "version": "1.7", "cuda": "13", "capability": 75, "precision": "fp16"}
    _edit(folder, generator=manifest["generator"] | {"plans": plans | {"files": dict.fromkeys(PLAN_ROLES, plan)}})


def test_an_engine_that_this_version_cannot_run_is_named(copy):
    _add_plans(copy)
    _edit(copy, engines=["onnx", "trt"])
    with pytest.raises(EngineError, match=r"--engine trt: .* has engines, but they .*sm_75.*; use --engine onnx"):
        open_engine("trt", open_bundle(copy))
    assert open_engine("auto", open_bundle(copy)).name == "onnx"
    _edit(copy, engines=["trt"])
    for asked in ("trt", "auto", "onnx"):
        with pytest.raises(EngineError, match=rf"--engine {asked}: .*give a bundle that was built for onnx"):
            open_engine(asked, open_bundle(copy))


def test_weights_that_a_bundle_claims_but_lacks_are_an_error(copy):
    pytest.importorskip("torch")
    _edit(copy, engines=["onnx", "cuda"], generator=None)
    with pytest.raises(EngineError, match=r"--engine cuda: .*holds no generative model; use --engine onnx"):
        open_engine("cuda", open_bundle(copy))


def test_a_graph_that_is_no_onnx_is_refused(copy):
    _replace_graph(copy, b"not a graph")
    with pytest.raises(EngineError, match=r"cannot load .*prior\.onnx"):
        open_engine("onnx", open_bundle(copy))


@pytest.fixture(scope="module")
def prior():
    bundle = open_bundle()
    return Prior(open_engine("auto", bundle), bundle.prior.multiple_px)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (16, 16), (37, 53), (144, 256), (360, 641)])
def test_the_prior_takes_any_size(prior, height, width):
    rgb = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    found = prior(rgb)
    assert found.shape == (height, width)
    assert found.dtype == np.uint8


def test_the_prior_stays_inside_its_box(prior):
    rgb = np.random.default_rng(1).integers(0, 256, (360, 640, 3), np.uint8)
    box = Box(32, 200, 300, 90)
    found = prior(rgb, box)
    rows, columns = box.slices
    np.testing.assert_array_equal(found[rows, columns], prior(np.ascontiguousarray(rgb[rows, columns])))
    found[rows, columns] = 0
    assert not found.any()


def test_the_prior_is_silent_on_empty_pictures(prior):
    ramp = np.repeat(np.linspace(0, 255, 640, dtype=np.uint8)[None], 360, axis=0)
    for rgb in (np.zeros((360, 640, 3), np.uint8), np.full((360, 640, 3), 255, np.uint8), np.dstack([ramp] * 3)):
        assert prior(rgb).max() < 128


@pytest.fixture
def graph():
    """Function -> a model whose map is the maximum along `axis`; both tensors are (name, element type, shape)."""
    onnx = pytest.importorskip("onnx", reason="makes small graphs: pip install '.[train]'")
    helper = onnx.helper

    def make(
        source=("rgb", "UINT8", (1, "h", "w", 3)), target=("occlusion", "UINT8", (1, "h", "w")), axis=3, swap=False
    ):
        infos = [
            helper.make_tensor_value_info(name, onnx.TensorProto.DataType.Value(kind), shape)
            for name, kind, shape in (source, target)
        ]
        nodes = [
            helper.make_node("Cast", [source[0]], ["wide"], to=onnx.TensorProto.FLOAT),
            helper.make_node("ReduceMax", ["wide", "axis"], ["flat"], keepdims=0),
            helper.make_node(
                "Cast", ["turned" if swap else "flat"], [target[0]], to=onnx.TensorProto.DataType.Value(target[1])
            ),
        ]
        if swap:
            nodes.insert(2, helper.make_node("Transpose", ["flat"], ["turned"], perm=(0, 2, 1)))
        axes = onnx.numpy_helper.from_array(np.array([axis], np.int64), "axis")
        body = helper.make_graph(nodes, "g", infos[:1], infos[1:], [axes])
        return helper.make_model(body, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)

    return make


def test_a_graph_of_the_right_form_runs(copy, graph):
    _replace_graph(copy, graph().SerializeToString())
    rgb = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(open_engine("onnx", open_bundle(copy)).occlusion(rgb), rgb.max(axis=2))


@pytest.mark.parametrize(
    ("form", "found"),
    [
        ({"source": ("image", "UINT8", (1, "h", "w", 3))}, r"input rgb .*found image tensor\(uint8\)"),
        ({"source": ("rgb", "FLOAT", (1, "h", "w", 3))}, r"input rgb .*found rgb tensor\(float\)"),
        ({"source": ("rgb", "UINT8", (1, 64, "w", 3))}, r"\[1, any, any, 3\], found .*\[1, 64, any, 3\]"),
        ({"source": ("rgb", "UINT8", (1, "h", "w", 4))}, r"found .*\[1, any, any, 4\]"),
        ({"source": ("rgb", "UINT8", (1, "h", "w")), "target": ("occlusion", "UINT8", (1, "h")), "axis": 2}, "found"),
        ({"target": ("mask", "UINT8", (1, "h", "w"))}, r"output occlusion .*found mask"),
        ({"target": ("occlusion", "FLOAT", (1, "h", "w"))}, r"output occlusion .*found occlusion tensor\(float\)"),
    ],
)
def test_a_graph_of_another_form_is_refused(copy, graph, form, found):
    _replace_graph(copy, graph(**form).SerializeToString())
    with pytest.raises(EngineError, match=f"expected the .*{found}.*build the bundle again") as caught:
        open_engine("onnx", open_bundle(copy))
    assert len(str(caught.value).splitlines()) == 1


def test_a_map_of_another_size_is_refused(copy, graph):
    _replace_graph(copy, graph(target=("occlusion", "UINT8", (1, "a", "b")), swap=True).SerializeToString())
    engine = open_engine("onnx", open_bundle(copy))
    with pytest.raises(EngineError, match="expected a map of 7x5, found 5x7"):
        engine.occlusion(np.zeros((5, 7, 3), np.uint8))


def test_a_graph_that_fails_is_a_sentence(copy, capfd):
    """The embedded network halves the picture four times: 17 rows do not come back as 17."""
    engine = open_engine("onnx", open_bundle(copy))
    with pytest.raises(EngineError, match=r"failed on a picture of 16x17: .*build or fetch") as caught:
        engine.occlusion(np.zeros((17, 16, 3), np.uint8))
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("location", ["weights.bin", "./weights.bin", "../here/weights.bin"])
def test_weights_in_another_file_are_refused(copy, graph, tmp_path, monkeypatch, location):
    """ONNX Runtime looks for them in the current folder, whatever the bundle's hash says."""
    model = graph()
    data = model.graph.initializer[0]
    here = tmp_path / "here"
    here.mkdir()
    (here / "weights.bin").write_bytes(data.raw_data)
    data.ClearField("raw_data")
    data.data_location = 1
    data.external_data.add(key="location", value=location)
    _replace_graph(copy, model.SerializeToString())
    monkeypatch.chdir(here)
    with pytest.raises(EngineError, match=rf"keeps weights in {re.escape(location)}"):
        open_engine("onnx", open_bundle(copy))
