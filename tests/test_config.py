"""Options that do not go together are refused with a sentence, however they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from clear_rt.config import CompositeConfig, DenoiseConfig, RunConfig
from clear_rt.errors import ConfigError


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"steps": 5}, "--steps 5 belongs to the model's fill"),
        ({"policy": "stream"}, "--policy stream belongs"),
        ({"noise": Path("noise.npy")}, r"--noise noise\.npy belongs"),
    ],
)
def test_options_of_the_model_need_the_model(options, words):
    with pytest.raises(ConfigError, match=words):
        RunConfig(denoise=DenoiseConfig(**options))
    given = DenoiseConfig(**options)
    assert RunConfig(denoise=given, composite=CompositeConfig(fill="model")).denoise == given


def test_a_seed_is_accepted_anyway():
    """It changes nothing where nothing is drawn, and always has a value; the command line knows which are given."""
    assert RunConfig(denoise=DenoiseConfig(seed=2**64 - 1)).denoise.seed == 2**64 - 1


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": -3}, {"seed": -1}, {"seed": 2**64}])
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ConfigError, match="must be"):
        DenoiseConfig(**options)
