"""The report on what FP8 costs, linear by linear."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("modelopt", reason="calibration is modelopt's: pip install '.[export]'")

from benchmarks import fp8_sensitivity
from clear_rt.bundle import open_bundle
from clear_rt.models.dit_config import DitConfig
from clear_rt.models.fp8_policy import KINDS

SMALL = DitConfig(
    width=64, heads=2, layers=3, ffn_width=96, text_width=20, text_tokens=64, freq_width=32, image_width=0,
    ref_conv=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    bundle = open_bundle()
    return fp8_sensitivity.measure(fp8_sensitivity.random(bundle, SMALL), bundle)


def test_every_linear_block_kind_and_the_policy_are_there(rows):
    found = {(row.detail["block"], row.detail["kind"]): row for row in rows}
    assert len(found) == len(rows)
    blocks = ["0", "1", "2"]
    singles = [(block, kind) for block in blocks for kind in (*KINDS, "all")]
    assert list(found) == [*singles, *(("all", kind) for kind in (*KINDS, "all")), ("policy", "all")]
    counts = {place: row.detail["linears"] for place, row in found.items()}
    assert counts["1", "ffn.0"] == 1
    assert counts["2", "all"] == counts["policy", "all"] == 6
    assert counts["all", "ffn.2"] == 3
    assert counts["all", "all"] == 18
    assert all(row.value == 100 * max(row.detail["errors"]) > 0 and len(row.detail["errors"]) == 2 for row in rows)
    # The first and the last of three blocks stay, so that the policy is the block between them.
    assert found["policy", "all"].detail["errors"] == found["1", "all"].detail["errors"]


def test_fp8_of_more_costs_more(rows):
    found = {(row.detail["block"], row.detail["kind"]): row.value for row in rows}
    assert found["all", "all"] > max(found[str(block), "all"] for block in range(3))
    # Roundings of two linears are independent: together they cost the root of the sum of their squares, roughly.
    together = sum(found[str(block), "all"] ** 2 for block in range(3)) ** 0.5
    assert found["all", "all"] == pytest.approx(together, rel=0.3)


def test_a_section_takes_the_place_of_the_one_before(rows, tmp_path):
    path, table = tmp_path / "FP8.md", fp8_sensitivity.table(rows)
    path.write_text("# FP8\n\nWords.\n")
    fp8_sensitivity.write_section(path, "one", "old\n")
    fp8_sensitivity.write_section(path, "two", "second")
    fp8_sensitivity.write_section(path, "one", table)
    text = path.read_text()
    assert text == f"# FP8\n\nWords.\n\n## Measured: one\n\n{table}\n\n## Measured: two\n\nsecond\n"
    assert [line.count("|") for line in table.splitlines()] == [9] * (2 + 3 + 2)


def test_weights_that_are_given_are_run_as_they_would_be_exported(random_weights):
    case = fp8_sensitivity.given(random_weights, None)
    assert case.name == random_weights.name
    assert case.spec.default_steps == case.dit.config.timesteps == fp8_sensitivity.STEPS
    frames = np.zeros((3, 1, 16, 32), np.float32)
    assert case.codec.encode(frames, None)[0].shape == (case.spec.latent_channels, 2, 4)
