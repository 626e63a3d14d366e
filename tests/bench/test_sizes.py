"""Sizes of networks, out of manifests and out of graphs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clear_rt.bench.onnx_shapes import weight_shapes
from clear_rt.bench.sizes import sizes_of
from clear_rt.bundle import EMBEDDED, open_bundle


def test_sizes_of_the_embedded_model():
    dit, vae = sizes_of(open_bundle().generator)
    assert (dit.width, dit.heads, dit.layers, dit.ffn_width, dit.text_keys, dit.occlusion) == (192, 3, 6, 768, 5, True)
    assert (vae.base_width, vae.multipliers, vae.res_blocks, vae.temporal_down) == (
        8,
        (1, 2, 8, 8),
        1,
        (False, True, True),
    )


def test_graphs_say_the_same_as_the_manifest(random_bundle):
    spec = open_bundle(random_bundle).generator
    described, read = sizes_of(spec), sizes_of(replace(spec, models={}))
    assert read.dit == described.dit
    fields = ("base_width", "multipliers", "res_blocks", "temporal_down", "latent_channels")
    assert [getattr(read.vae, name) for name in fields] == [getattr(described.vae, name) for name in fields]


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ({"dit": {"width": 8}, "vae": {}}, "lacks heads, layers"),
        ({"dit": {"width": "8"}, "vae": {}}, "lacks width"),
        ({}, "the sizes of no network"),
    ],
)
def test_what_cannot_be_told_is_a_sentence(models, said):
    spec = replace(open_bundle().generator, models=models, graphs={})
    with pytest.raises(ValueError, match=said):
        sizes_of(spec)


def test_graphs_of_another_make_are_a_sentence():
    spec = open_bundle().generator
    swapped = {**spec.graphs, "step": spec.graphs["encoder_next"]}
    with pytest.raises(ValueError, match="name their weights otherwise"):
        sizes_of(replace(spec, graphs=swapped))


@pytest.mark.parametrize("role", ["step", "encoder_next", "decoder_first", "prior"])
def test_shapes_are_those_that_onnx_reads(role):
    onnx = pytest.importorskip("onnx", reason="the library to compare with: pip install '.[export]'")
    path = EMBEDDED / f"{role}.onnx"
    expected = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(path).graph.initializer}
    assert weight_shapes(path.read_bytes()) == expected


def test_damaged_graphs_end():
    graph = (EMBEDDED / "control.onnx").read_bytes()
    with pytest.raises(ValueError, match="expected an ONNX graph"):
        weight_shapes(graph[:-3])
    with pytest.raises(ValueError, match="expected an ONNX graph"):
        weight_shapes(b"\xff" * 32)
    assert weight_shapes(b"") == {}
