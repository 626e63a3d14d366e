"""The fingerprint of a checkpoint, against its definition spelled out and against the Wan VAE's published value."""

from __future__ import annotations

import hashlib

import pytest

from tests.signature import signature


def test_definition():
    expected = hashlib.md5(b"a,a.b,a.b:7,a:2_3,scalar,scalar:").hexdigest()
    assert signature({"scalar": (), "a": (2, 3), "a.b": [7]}) == expected


def test_nothing():
    assert signature({}) == hashlib.md5(b"").hexdigest()


def test_order_does_not_matter_but_names_and_shapes_do():
    shapes = {"x": (1, 2), "y": (3,)}
    assert signature(shapes) == signature(dict(reversed(shapes.items())))
    others = [{"x": (2, 1), "y": (3,)}, {"x": (1, 2), "z": (3,)}, {"x": (1, 2)}, {"x": (12,), "y": (3,)}]
    assert len({signature(shapes), *map(signature, others)}) == 5


def test_wan_vae():
    torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
    from clear_rt.models.vae import Vae
    from clear_rt.models.vae_config import WAN_VAE

    with torch.device("meta"):
        vae = Vae(WAN_VAE)
    tensors = vae.state_dict()
    assert len(tensors) == 194
    assert sum(tensor.numel() for tensor in tensors.values()) == 126_892_531
    assert signature({name: tensor.shape for name, tensor in tensors.items()}) == "ccc42284ea13e1ad04693284c7a09be6"
