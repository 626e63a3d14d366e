"""Bundles: what is embedded opens, everything tampered with is refused with one sentence."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from clear_rt.bundle import EMBEDDED, open_bundle
from clear_rt.errors import BundleError, EngineError
from clear_rt.prior import Prior
from clear_rt.runtime.engine import open_engine
from clear_rt.shapes import Box


@pytest.fixture
def copy(tmp_path):
    return shutil.copytree(EMBEDDED, tmp_path / "bundle")


def _edit(folder, **fields):
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | fields))


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


@pytest.mark.parametrize("name", ["../prior.onnx", "/etc/passwd", "sub/prior.onnx"])
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


@pytest.mark.parametrize("name", ["trt", "cuda"])
def test_an_engine_that_the_bundle_lacks_is_refused(name):
    with pytest.raises(EngineError, match=f"--engine {name}"):
        open_engine(name, open_bundle())


def test_a_graph_that_is_no_onnx_is_refused(copy):
    import hashlib

    (copy / "prior.onnx").write_bytes(b"not a graph")
    digest = hashlib.sha256(b"not a graph").hexdigest()
    _edit(
        copy, prior={"file": "prior.onnx", "sha256": digest, "short_side_px": 360, "multiple_px": 16, "parameters": 1}
    )
    with pytest.raises(EngineError, match="cannot load"):
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
