"""A profile that memory is too small for is recorded, and the others are measured all the same."""

from __future__ import annotations

import pytest

from clear_rt.bench import tables
from clear_rt.bench.config import BenchConfig
from clear_rt.bench.device import is_out_of_memory
from clear_rt.bench.plan import planned
from clear_rt.bench.run import Subject, bench_engine
from clear_rt.bundle import open_bundle
from clear_rt.cli import main
from clear_rt.errors import EngineError, ExitStatus
from tests.bench.counting_engine import CountingEngine


def full(error):
    """As the engine cuda says it: torch's error is what its own came of."""
    try:
        raise error
    except type(error):
        raise EngineError("--engine cuda: the GPU's memory does not hold it; use a smaller --region") from None


class Small(CountingEngine):
    """An engine whose memory holds pictures of less than `most` pixels."""

    def __init__(self, error, most=200 * 100):
        super().__init__()
        self._error, self._most = error, most

    def occlusion(self, rgb):
        return rgb[..., 0] * 0 + 255

    def encode(self, frames, caches):
        if frames.shape[2] * frames.shape[3] > self._most:
            full(self._error)
        return super().encode(frames, caches)


@pytest.fixture
def out_of_memory():
    torch = pytest.importorskip("torch", reason="whose error it is: pip install '.[export]'")
    return torch.OutOfMemoryError("CUDA out of memory")


def run(engine, *profiles):
    bundle = open_bundle()
    config = BenchConfig(profiles=profiles, runs=1, warmups=0, picture_frames=2, end_to_end=False)
    plans = planned(config, bundle, bundle.generator)
    return bench_engine(Subject(engine, bundle, bundle.generator), plans, config)


def test_the_others_are_measured(out_of_memory):
    found = run(Small(out_of_memory), "320x96", "160x96", "480x96")
    assert [profile["profile"] for profile in found["profiles"]] == ["160x96"]
    assert [(each["profile"], each["size"]) for each in found["out_of_memory"]] == [
        ("320x96", [320, 96]),
        ("480x96", [480, 96]),
    ]
    assert "smaller --region" in found["out_of_memory"][0]["reason"]
    assert "320x96: out of memory: --engine cuda: the GPU's memory" in tables.as_text(found)


def test_where_nothing_fits_that_is_the_end(out_of_memory):
    with pytest.raises(EngineError, match="nothing was measured: 320x96: --engine cuda: the GPU's memory"):
        run(Small(out_of_memory), "320x96")


def test_another_failure_is_no_lack_of_memory():
    with pytest.raises(EngineError, match=r"^--engine cuda: the GPU's memory does not hold it"):
        run(Small(RuntimeError("illegal address")), "320x96", "160x96")


def test_what_lack_of_memory_is(out_of_memory):
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(out_of_memory)
    assert not is_out_of_memory(EngineError("the GPU's memory does not hold it"))
    assert not is_out_of_memory(None)


def test_a_limit_that_does_not_apply_ends_the_command(capfd):
    assert main(["bench", "--profile", "160x96", "--max-memory", "8GB"]) == ExitStatus.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert "--max-memory 8GB is for --engine cuda, and onnx would run; leave it out" in err
