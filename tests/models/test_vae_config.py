"""Sizes of a VAE: what fits together, and the way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from clear_rt.errors import ConfigError
from clear_rt.models.config_json import as_json, from_json
from clear_rt.models.vae_config import WAN_VAE, VaeConfig

TWO_STAGES = VaeConfig(multipliers=(1, 3), temporal_down=(True,), latent_channels=2,
                       latent_means=(0.5, -0.25), latent_stds=(1.5, 2.0))  # fmt: skip


def test_what_follows_from_the_sizes():
    assert (WAN_VAE.widths, WAN_VAE.latent_px, WAN_VAE.latent_frames) == ((96, 192, 384, 384), 8, 4)
    assert (TWO_STAGES.widths, TWO_STAGES.latent_px, TWO_STAGES.latent_frames) == ((96, 288), 2, 2)


@pytest.mark.parametrize("config", [WAN_VAE, TWO_STAGES])
def test_json_and_back(config):
    assert from_json(VaeConfig, json.loads(json.dumps(as_json(config)))) == config


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"base_width": 0}, "1 or more"),
        ({"base_width": 7}, "even"),
        ({"res_blocks": 0}, "1 or more"),
        ({"multipliers": ()}, "1 or more"),
        ({"multipliers": (1, 2, 4)}, "temporal_down"),
        ({"temporal_down": (True,)}, "temporal_down"),
        ({"latent_channels": 8}, "latent_means"),
        ({"latent_stds": (1.0,) * 15}, "latent_stds"),
        ({"latent_stds": (1.0,) * 15 + (0.0,)}, "above 0"),
    ],
)
def test_sizes_that_do_not_fit(change, named):
    with pytest.raises(ConfigError, match=named):
        replace(WAN_VAE, **change)


@pytest.mark.parametrize(
    "change", [{"res_blocks": None}, {"surplus": 1}, {"multipliers": 4}, {"temporal_down": [1] * 3}]
)
def test_json_that_is_not_one(change):
    values = {name: value for name, value in (as_json(WAN_VAE) | change).items() if value is not None}
    with pytest.raises(ConfigError, match=next(iter(change))):
        from_json(VaeConfig, values)
