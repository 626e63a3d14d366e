"""The table of trade-offs: a short clip measured for real, precisions on the CPU, and means that can be added up."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("PIL", reason="drawing text into the clips needs the [eval] extra")
torch = pytest.importorskip("torch", reason="precisions are torch's")
pytest.importorskip("onnx", reason="clear-tiny's weights are read out of its graphs")
pytest.importorskip("triton", reason="the engine cuda needs Triton")

from benchmarks import trade_off_clips, trade_offs  # noqa: E402
from benchmarks.trade_off_clips import cases  # noqa: E402
from benchmarks.trade_off_engines import BF16, BOTH, LINEARS, NO_GPU, engines_of, precise_engines  # noqa: E402
from benchmarks.trade_off_tables import page  # noqa: E402
from benchmarks.trade_offs import Choice, Outcome  # noqa: E402
from clear_rt import frames  # noqa: E402
from clear_rt.bundle import open_bundle  # noqa: E402

FRAMES = 5


@pytest.fixture(scope="module")
def case(clean, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trade_off_clips, "HOME", tmp_path_factory.mktemp("clips"))
        patch.setattr(trade_off_clips, "WIDTH_PX", 192)
        (made,) = cases([clean], FRAMES)
        yield made


def test_the_band_holds_all_text(case):
    info = frames.probe(case.source)
    assert (info.width_px, info.height_px) == (192, 112)
    rows = [np.flatnonzero((frame.planes[0].samples > 0).any(axis=1)) for frame in frames.read(frames.probe(case.mask))]
    covered = np.concatenate(rows)
    assert len(rows) == FRAMES
    assert case.band.y_px <= covered.min()
    assert case.band.y_px + case.band.height_px > covered.max()
    assert case.band.height_px < info.height_px
    assert (case.band.y_px % 16, case.band.height_px % 16) == (0, 0)


def test_a_clip_that_is_too_short_is_refused(clean, case):
    with pytest.raises(RuntimeError, match="expected 1000; take a longer one"):
        cases([clean], 1000)


def test_the_command_measures_and_writes(clean, case, tmp_path, monkeypatch, capsys):
    written = tmp_path / "page.md"
    monkeypatch.setattr(trade_offs, "PAGE", written)
    monkeypatch.setattr(trade_offs, "ROOT", tmp_path)
    assert trade_offs.main(["--clip", str(clean), "--frames", str(FRAMES), "--steps", "5", "--write"]) == 0
    document = json.loads(capsys.readouterr().out.splitlines()[-1])
    rows = [row["detail"] for row in document["rows"] if row["detail"]["choice"]["precision"] == "fp32"]
    found, parts = rows[:6], rows[6:]
    assert [(each["choice"]["region"], each["choice"]["policy"]) for each in found] == [
        ("full", "paper"), ("band", "paper"), ("full", "reference"), ("band", "reference"), ("full", "stream"),
        ("band", "stream"),
    ]  # fmt: skip
    # The reference itself: what was made twice is the same.
    assert (found[0]["frame_db"], found[0]["ssim"]) == (None, 1.0)
    # Five frames are one window, which nothing couples.
    assert found[2]["frame_db"] is found[4]["frame_db"] is None
    assert 20 < found[1]["frame_db"] < 80
    for each in found:
        assert each["fps"] > 0
        assert each["processor_ms"] > 0
        assert 10 < each["clean_inside_db"] < 50
    names = ("composite", "attention", "fill", "propagate")
    by_part = {tuple(part["choice"][name] for name in names): part for part in parts}
    whole = by_part["membrane", "weighted", "model", "both"]
    assert len(by_part) == len(parts) == 7
    # Without the composite all samples of the band went through the VAE; without weights little moves, and without the
    # model nothing is generated.
    assert by_part["off", "weighted", "model", "both"]["clean_frame_db"] < whole["clean_frame_db"] - 3
    assert by_part["membrane", "plain", "model", "both"]["inside_db"] != whole["inside_db"]
    assert by_part["membrane", "weighted", "membrane", "both"]["inside_db"] < 60
    for way in ("past", "off"):
        assert by_part["membrane", "weighted", "model", way]["inside_db"] < 60
    text = written.read_text()
    assert text.count("| weights of keys | plain attention |") == 1
    assert text.count("| full | paper | 5 |") == 1
    if not torch.cuda.is_available():
        assert text.count(f"not measured: {NO_GPU}") == 4


def test_precisions_by_the_references_of_the_kernels(case):
    bundle = open_bundle()
    engines = precise_engines(bundle, (BF16, LINEARS, BOTH), case, torch.device("cpu"), by_kernels=False)
    found = list(trade_offs.compared_precisions(engines, bundle, case))
    assert [outcome.choice.precision for outcome in found] == [BF16, LINEARS, BOTH]
    assert found[0].frame_db is None
    # Rounded to three bits, the transformer's answer is near and not the same; pictures are rounded to eight.
    for outcome in found[1:]:
        assert outcome.inside_db is not None
        assert outcome.inside_db > 30
    assert found[1].inside_db != found[2].inside_db


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")
def test_precisions_are_left_out_without_a_gpu(case):
    assert engines_of(open_bundle(), (LINEARS,), [case]) == ({}, NO_GPU)


def test_means_by_hand():
    def outcome(clip, fps, decibels, steps=5):
        return Outcome(
            choice=Choice(steps=steps), clip=clip, fps=fps, processor_ms=10 * fps, frame_db=decibels,
            inside_db=decibels, ssim=0.5, clean_frame_db=30.0, clean_inside_db=20.0, flicker=1.5,
        )  # fmt: skip

    found = [outcome("a", 1.0, 30.0), outcome("b", 3.0, 40.0), outcome("a", 4.0, None, 2), outcome("b", 8.0, None, 2)]
    lines = page(found, [], [], "no reason", ["a", "b"], 9).splitlines()
    assert "| full | paper | 5 | 2.0 | 20 | 35.0 | 35.0 | 0.5000 | 30.00 | 20.00 | 1.50 |" in lines
    assert "| full | paper | 2 | 6.0 | 60 | equal | equal | 0.5000 | 30.00 | 20.00 | 1.50 |" in lines
    assert lines.index("| full | paper | 5 | 2.0 | 20 | 35.0 | 35.0 | 0.5000 | 30.00 | 20.00 | 1.50 |") < lines.index(
        "| full | paper | 2 | 6.0 | 60 | equal | equal | 0.5000 | 30.00 | 20.00 | 1.50 |"
    )
    assert sum("not measured: no reason" in line for line in lines) == 4
