"""The report on FP8 attention's error in a network, block by block."""

import pytest

pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from benchmarks.fp8_attention_error import AS_THEY_ARE, DEVIATION, LESS_MEAN, NORMAL, measure


def test_every_block_is_compared_at_both_noise_levels(random_bundle):
    found = {(row.case, row.metric): row for row in measure(random_bundle)}
    blocks = [(f"block {i}", name) for i in range(3) for name in (AS_THEY_ARE, LESS_MEAN, DEVIATION)]
    assert list(found) == [*blocks, ("velocity", LESS_MEAN)]
    for row in found.values():
        assert len(row.detail["errors"]) == 2
        assert row.value == 100 * max(row.detail["errors"]) > 0
        assert row.metric == DEVIATION or row.value < 100 * NORMAL
