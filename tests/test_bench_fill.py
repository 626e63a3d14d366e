"""The benchmark of fills: what differs between its two runs, what it reports, what it keeps, what it draws."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("PIL", reason="drawing text into the clips needs the [eval] extra")

from benchmarks import bench_fill, bench_quality
from benchmarks.bench_fill import GAIN, Case, mean_rows, measure, run_configs
from benchmarks.contact_sheet import draw_sheet
from benchmarks.report import Row
from clear_rt import frames

FRAMES = 9


@pytest.fixture(scope="module")
def case(clean, tmp_path_factory):
    """The first frames of the sample; everything the benchmark writes goes to a folder of the test's own."""
    home = tmp_path_factory.mktemp("quality")
    with pytest.MonkeyPatch.context() as patch:
        for module in (bench_fill, bench_quality):
            patch.setattr(module, "HOME", home)
        yield Case("en", clean, 1, "outline", FRAMES)


def gain(case, value):
    return Row(case=case, metric=GAIN, value=value, unit="dB", bound=None, bound_name="")


def test_a_case_is_measured_and_drawn(case, random_bundle, tmp_path):
    found = {row.metric: row for row in measure(case, run_configs(random_bundle, 2, "membrane"), tmp_path)}
    model, membrane = (found["remove, model"].detail[fill] for fill in ("model", "membrane"))
    assert (model["fill"], model["steps"], membrane["fill"]) == ("model", 2, "membrane")
    assert model["frames_changed"] == FRAMES
    inside = found["PSNR inside mask"]
    assert found[GAIN].value == inside.value - inside.bound != 0
    for fill in ("model", "membrane"):
        detail = found[f"warping, {fill}"].detail
        assert found[f"warping, {fill}"].value == detail["mean_square"] / detail["clean_mean_square"]
    assert {"PSNR frame", "frames with text", "text in its place"} <= found.keys()
    assert (tmp_path / "en-city-clean-outline.png").stat().st_size > 0


def test_burned_clips_are_kept_by_their_number_of_frames(case):
    videos = case.videos()
    written = videos["source"].stat().st_mtime_ns
    assert case.videos()["source"].stat().st_mtime_ns == written
    shorter = Case("en", case.clip, 1, "outline", FRAMES - 1).videos()
    assert [sum(1 for _ in frames.read(frames.probe(found["mask"]))) for found in (videos, shorter)] == [9, 8]
    assert set(videos.values()).isdisjoint(shorter.values())


@pytest.fixture
def empty_mask(tmp_path, clean):
    """A mask video of two black frames."""
    info, path = frames.probe(clean), tmp_path / "mask.mkv"
    with frames.PlainWriter(path, 32, 16, info.rate, frames.GRAY_LOSSLESS) as writer:
        for time_us in (0, 40_000):
            writer.write(np.zeros((16, 32), np.uint8), time_us)
    return path


def test_a_sheet_needs_text(empty_mask, tmp_path):
    with pytest.raises(ValueError, match="no text"):
        draw_sheet({"mask": empty_mask}, tmp_path / "sheet.png")


def test_means_over_a_look():
    mean, worst = mean_rows("outline", [gain("zh", 3.0), gain("en", -1.0), gain("ja", 1.0)])
    assert (mean.case, mean.value, worst.value, worst.bound_name) == ("mean outline", 1.0, 1.0, "en: -1.00 dB")
    assert [row.value for row in mean_rows("random", [gain("zh", 2.0)])] == [2.0, 0.0]
    assert mean_rows("random", []) == []


def test_without_a_generative_bundle_nothing_is_measured(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["bench_fill"])
    monkeypatch.setattr(bench_fill, "open_bundle", lambda path: SimpleNamespace(name="prior-only", generator=None))
    bench_fill.main()
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("nothing measured: prior-only")
    assert json.loads(said[-1])["rows"] == []
