"""Step tables: what the sampler finds in a bundle for every number of steps."""

from __future__ import annotations

import pytest

from clear_rt.export.config import STEP_COUNTS, ExportConfig
from clear_rt.export.steps import step_tables
from clear_rt.schedule import sigmas, timesteps


def test_five_steps_are_those_of_the_reference():
    """reference.md 5.1."""
    tables = step_tables(ExportConfig())
    five = tables.manifest["5"]
    assert five["sigmas"] == [1.0, 20 / 21, 15 / 17, 10 / 13, 5 / 9, 0.0]
    told = [tables.timesteps[row] for row in five["rows"]]
    assert told == pytest.approx([1000, 952.3810, 882.3529, 769.2308, 555.5556], abs=1e-4)


def test_rounded_timesteps_keep_the_noise_levels():
    tables = step_tables(ExportConfig(timesteps="bf16"))
    five = tables.manifest["5"]
    assert [tables.timesteps[row] for row in five["rows"]] == [1000.0, 952.0, 884.0, 768.0, 556.0]
    assert five["sigmas"] == step_tables(ExportConfig()).manifest["5"]["sigmas"]


@pytest.mark.parametrize("steps", [1, 5, 7, 20])
def test_every_count_finds_its_own_timesteps(steps):
    tables = step_tables(ExportConfig(steps=steps))
    assert {int(count) for count in tables.manifest} == {steps, *STEP_COUNTS}
    for count, table in tables.manifest.items():
        assert table["sigmas"] == list(sigmas(int(count)))
        told = [tables.timesteps[row] for row in table["rows"]]
        assert told == list(timesteps(int(count)))


def test_levels_in_common_are_one_row():
    """20 steps hold those of 2, 4, 5 and 10; 3 steps add two: 22 rows, not 44."""
    tables = step_tables(ExportConfig())
    assert len(tables.timesteps) == 22
    assert sorted(tables.timesteps, reverse=True) == list(tables.timesteps)
