"""A training shared by two processes is the same training; a GPU each is the same with another device."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from tests.trainer_state import assert_equal  # noqa: E402
from tests.training.small_base import BASE, latent_shards  # noqa: E402
from training import processes  # noqa: E402
from training.base import BaseTrainer  # noqa: E402
from training.flow import FlowTraining, batch_numbers  # noqa: E402
from training.latent_data import LatentPairs  # noqa: E402
from training.processes import ALONE, Alone, launched  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


class Half(Alone):
    """The second of two, as far as it needs no other."""

    index, count, first = 1, 2, False


SHARED = """
import sys
from pathlib import Path
from tests.training.small_base import BASE
from training.base import BaseTrainer
from training.latent_data import LatentPairs
from training.processes import launched
from dataclasses import replace

run, data = Path(sys.argv[1]), Path(sys.argv[2])
config = replace(BASE, steps=2, accumulate=2)
BaseTrainer(run, config, launched("cpu")).train_to(LatentPairs(data), 2)
"""


def test_two_processes_learn_what_one_does_and_the_first_alone_writes(tmp_path):
    """The base's trainer, which needs no peft, to be started twice sooner; what processes do is in `FlowTrainer`."""
    pytest.importorskip("accelerate", reason="several processes need accelerate, which comes with peft")
    data = latent_shards(tmp_path / "data")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", SHARED, tmp_path / "two", data],
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    BaseTrainer(tmp_path / "one", replace(BASE, steps=2, accumulate=2)).train_to(LatentPairs(data), 2)
    torch.set_num_threads(threads)
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert said[0].count('"step": 2') == 1
    assert '"step"' not in said[1]
    together, alone = (torch.load(tmp_path / name / "checkpoint.pt") for name in ("two", "one"))
    # Two gradients have one sum, in whatever order, so this is exact.
    for part in ("model", "average"):
        assert_equal(together[part], alone[part])


@pytest.mark.parametrize("accumulate", [2, 6])
def test_every_batch_of_a_step_is_taken_once_by_one_process(accumulate):
    config = FlowTraining(steps=9, stages=1, batch=1, peak_lr=1.0, checkpoint_every=1, accumulate=accumulate)
    for step in (0, 1, 5):
        first = Alone()
        first.count = 2
        taken = [*batch_numbers(step, config, first), *batch_numbers(step, config, Half())]
        assert sorted(taken) == list(batch_numbers(step, config, ALONE))
        assert sorted(taken) == list(range(step * accumulate, (step + 1) * accumulate))


def test_batches_that_cannot_be_shared_out_are_a_sentence(tmp_path):
    with pytest.raises(ConfigError, match="expected a multiple of 2 processes as batches of a step, got 3; "):
        BaseTrainer(tmp_path / "run", replace(BASE, accumulate=3), Half())


def test_a_process_is_alone_unless_a_launcher_says_otherwise(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert launched("cpu") is ALONE
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert launched("cpu") is ALONE


def test_without_accelerate_several_processes_are_a_sentence(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ConfigError, match=r"expected accelerate to be installed .*; pip install accelerate"):
        processes.launched("cpu")
