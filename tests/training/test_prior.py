"""Training goes on where it stopped, says so where it cannot, and exports what it validated. Tiny data, few steps."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs torch: pip install '.[train]'")
pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.errors import ConfigError  # noqa: E402
from tests.trainer_state import assert_equal, state  # noqa: E402
from training import prior  # noqa: E402
from training.prior import Crops, TrainConfig, Trainer, train, train_stage  # noqa: E402

TINY = TrainConfig(seed=3, steps=5, stages=2, batch=2)


@pytest.fixture
def run(tmp_path):
    """Function -> a new run folder with seven shards of four crops, the sixth of which is for validation."""

    def make(name="run"):
        folder = tmp_path / name
        (folder / "pairs").mkdir(parents=True)
        rng = np.random.default_rng(0)
        for number in range(7):
            crops = rng.integers(0, 256, (4, 32, 48, 7), np.uint8)
            crops[..., 6] = crops[..., 6] > 200
            np.save(folder / "pairs" / f"shard-{number:03d}.npy", crops)
        return folder

    return make


def test_a_resumed_run_equals_an_unbroken_one_bit_for_bit(run):
    whole, broken = run("whole"), run("broken")
    unbroken = Trainer(whole, TINY)
    train_stage(unbroken, Crops(whole / "pairs"), 5)
    for last_step in (2, 3, 5):
        resumed = Trainer(broken, TINY)
        train_stage(resumed, Crops(broken / "pairs"), last_step)
    assert resumed.step == unbroken.step == 5
    assert_equal(state(resumed), state(unbroken))
    assert_equal(torch.load(broken / "checkpoint.pt")["average"], torch.load(whole / "checkpoint.pt")["average"])


def test_a_stage_ends_with_a_checkpoint_and_its_figures(run):
    folder = run()
    trainer = Trainer(folder, TINY)
    for last_step in (2, 5):
        train_stage(trainer, Crops(folder / "pairs"), last_step)
        assert torch.load(folder / "checkpoint.pt")["step"] == last_step
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "iou" in row] == [2, 5]


def test_checkpoints_come_as_often_as_configured(run):
    folder = run()
    trainer = Trainer(folder, dataclasses.replace(TINY, checkpoint_every=2))
    train_stage(trainer, Crops(folder / "pairs"), 5)
    rows = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows if "iou" in row] == [2, 4, 5]


def test_what_is_exported_is_what_was_validated(run, monkeypatch):
    folder, exported = run(), {}
    monkeypatch.setattr(
        prior,
        "write_bundle",
        lambda net, target, notes, role: exported.update(net=net, target=target, notes=notes, role=role),
    )
    trainer = Trainer(folder, TINY)
    train(trainer, 1, None)
    assert trainer.step == 2
    assert not exported
    train(trainer, 2, None)
    assert exported["target"] == folder / "clear-tiny"
    assert_equal(exported["net"].state_dict(), trainer.average.module.prior.state_dict())
    last = json.loads((folder / "log.jsonl").read_text().splitlines()[-1])
    assert exported["notes"]["validation"] == {name: last[name] for name in ("iou", "recall", "false_alarm_share")}
    assert exported["notes"]["command"].endswith("--seed 3 --steps 5 --batch 2 --peak-lr 0.003")


@pytest.mark.parametrize("change", [{"seed": 4}, {"steps": 6}, {"batch": 3}, {"peak_lr": 0.1}])
def test_a_resume_with_another_config_is_a_sentence(run, change):
    folder = run()
    Trainer(folder, TINY).save()
    ((name, value),) = change.items()
    before = getattr(TINY, name)
    with pytest.raises(ConfigError, match=rf"trained with {name} {before}, now asked for {name} {value}; ") as caught:
        Trainer(folder, dataclasses.replace(TINY, **change))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("change", [{"checkpoint_every": 7}, {"stages": 5}])
def test_what_does_not_change_the_learning_may_differ(run, change):
    folder = run()
    Trainer(folder, TINY).save()
    assert Trainer(folder, dataclasses.replace(TINY, **change)).step == 0


def test_a_checkpoint_of_earlier_versions_says_no_config_and_loads(run):
    folder, config = run(), dataclasses.replace(TINY, mix=1)
    trainer = Trainer(folder, config)
    train_stage(trainer, Crops(folder / "pairs"), 2)
    saved = torch.load(folder / "checkpoint.pt")
    del saved["config"]
    torch.save(saved, folder / "checkpoint.pt")
    resumed = Trainer(folder, config)
    assert resumed.step == 2
    assert_equal(state(resumed), state(trainer))
    with pytest.raises(ConfigError, match="is at step 2, expected 1 at most"):
        Trainer(folder, dataclasses.replace(config, steps=1))
    with pytest.raises(ConfigError, match="mix"):
        Trainer(folder, TINY)


def test_the_command_ends_in_one_sentence_before_any_pair_is_drawn(run, monkeypatch):
    folder = run()
    Trainer(folder, TrainConfig()).save()
    monkeypatch.setattr(prior, "synthesise", lambda *_: pytest.fail("pairs were drawn"))
    monkeypatch.setattr("sys.argv", ["training.prior", "--run", str(folder), "--batch", "3"])
    with pytest.raises(SystemExit, match=r"^training: .*trained with batch 16, now asked for batch 3; ") as caught:
        prior.main()
    assert len(str(caught.value).splitlines()) == 1
