"""Tuning of tiles: what is tried, what does not fit, and what is written. No time is measured without a GPU."""

import json
import os
import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from benchmarks import kernel_run, tune_tiles  # noqa: E402
from benchmarks.tile_candidates import SPACES  # noqa: E402
from clear_rt.kernels import tiles  # noqa: E402
from clear_rt.kernels.tiles import Tile  # noqa: E402

HAS_GPU = torch.cuda.is_available()


def run(root, *arguments):
    """In a process of its own: this one has turned kernels over to the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    command = [sys.executable, "-m", "benchmarks.tune_tiles", *arguments]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True)


def test_every_op_with_a_tile_has_candidates_and_cases():
    assert SPACES.keys() == json.loads(tiles.PATH.read_text()).keys()
    timed = {case.op for case in kernel_run.cases(torch.device("cpu"), tiny=True)}
    for op, space in SPACES.items():
        assert timed >= set(space.cases), op
        committed = {tuple(sorted(row["blocks"])) for row in tiles.rows(op)}
        assert committed == {tuple(sorted(space.blocks))}, op


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU, whose chip is taken")
def test_without_a_gpu_candidates_are_compiled(root):
    done = run(root, "qk_norm_rope_fp8", "--chip", "90")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[:-2]
    assert all("warps, 1 stages: " in line for line in said[:-2])
    assert said[-2].endswith("of 3 tiles of qk_norm_rope_fp8 fit sm_90")
    assert json.loads(said[-1])["rows"] == []


@pytest.mark.skipif(HAS_GPU, reason="there is a GPU")
@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["norm_modulate"], "expected --chip where there is no GPU"),
        (["norm_modulate", "--chip", "90", "--write"], "nothing to write"),
        (["nothing", "--chip", "90"], "invalid choice"),
    ],
)
def test_what_cannot_be_done_is_refused(root, arguments, why):
    done = run(root, *arguments)
    assert done.returncode == 2
    assert why in done.stderr
    assert "Traceback" not in done.stderr


def test_a_written_row_takes_the_place_of_the_same_chip_and_traits(tmp_path, monkeypatch):
    path = tmp_path / "tiles.json"
    before = tiles.PATH.read_text()
    path.write_text(before)
    monkeypatch.setattr(tiles, "PATH", path)
    chosen = Tile({"BLOCK_QUERIES": 64, "BLOCK_KEYS": 32}, 4, 2)
    tune_tiles.write("occlusion_attention_fp8", 90, chosen, "fastest of 2")
    tune_tiles.write("occlusion_attention_fp8", 89, chosen, "fastest of 3")
    table, old = json.loads(path.read_text()), json.loads(before)
    written = table.pop("occlusion_attention_fp8")
    assert table == {op: rows for op, rows in old.items() if op != "occlusion_attention_fp8"}
    assert [row["capability"] for row in written] == [80, 80, 89, 90, 100]
    assert written[2]["evidence"] == "fastest of 3"
    assert written[3]["width"] == 128
    assert written[3]["blocks"] == chosen.blocks
    # A row is a line, so that a change is seen in review.
    assert len(set(path.read_text().splitlines()) - set(before.splitlines())) == 2


def test_the_mean_weighs_cases_alike():
    assert tune_tiles.mean_us({"short": 1.0, "long": 10_000.0}) == pytest.approx(100.0)
