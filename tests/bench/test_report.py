"""A real bench of the embedded model at a tiny size: every figure of the report worked out again from its raw times."""

from __future__ import annotations

import json

import av
import numpy as np
import pytest

from clear_rt.bench.comparison import compare
from clear_rt.bench.document import read_document
from clear_rt.bench.work_dit import DitShape, control_work, step_parts, step_work
from clear_rt.bench.work_vae import decode_work, encode_work
from clear_rt.cli import main
from clear_rt.models.vae_config import VaeConfig
from clear_rt.shapes import Size

RUNS = 2
STAGES = ["video decode", "prior", "VAE encode", "DiT control", "DiT step", "VAE decode", "composite", "video encode"]
# Of clear-tiny, as training/tiny and training/base set them.
DIT = DitShape(width=192, heads=3, layers=6, ffn_width=768, text_keys=5, occlusion=True)
VAE = VaeConfig(base_width=8, multipliers=(1, 2, 8, 8), res_blocks=1)
SIZES = {"160x96": Size(160, 96), "64x32x9": Size(64, 32)}
WINDOWS = {"160x96": (5, 1), "64x32x9": (3, 1)}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The folder with all three files, and what was printed."""
    folder = tmp_path_factory.mktemp("bench")
    with pytest.MonkeyPatch.context() as patch:
        import clear_rt.cli

        patch.setattr(clear_rt.cli, "say", lambda told: printed.append(told.text))
        printed: list[str] = []
        options = f"--profile 160x96 --profile 64x32x9 --runs {RUNS} --steps 2".split()
        files = {"--json": "a.json", "--markdown": "a.md", "--chart": "a.png"}
        places = [text for option, name in files.items() for text in (option, str(folder / name))]
        status = main(["bench", *options, *places])
    assert status == 0
    (out,) = printed
    assert sorted(path.name for path in folder.iterdir()) == ["a.json", "a.md", "a.png"]
    return folder, out


@pytest.fixture(scope="module")
def document(bench):
    return json.loads((bench[0] / "a.json").read_text())


def test_document_says_what_was_measured(document):
    assert list(document) == [
        "benchmark", "format", "time", "environment", "bundle", "engine", "kernels", "precision", "runs", "warmups",
        "cold", "ceilings", "not_counted", "graphs", "profiles", "out_of_memory", "baselines",
    ]  # fmt: skip
    assert (document["engine"], document["precision"], document["not_counted"]) == ("onnx", "fp32", None)
    assert document["out_of_memory"] == document["baselines"] == []
    assert document["bundle"]["name"] == "clear-tiny"
    assert len(document["bundle"]["manifest_sha256"]) == 64
    assert {"cpu", "cores", "gpus", "versions", "commit"} <= set(document["environment"])
    assert set(document["cold"]) == {"bundle_open_s", "engine_open_s", "first_frame_s"}
    first = document["profiles"][0]["network"]["first_frame_s"]
    opened = document["cold"]["bundle_open_s"] + document["cold"]["engine_open_s"]
    assert document["cold"]["first_frame_s"] == pytest.approx(opened + first)
    assert [profile["profile"] for profile in document["profiles"]] == list(SIZES)


@pytest.mark.parametrize("i", [0, 1])
def test_counts_and_percentiles(document, i):
    profile = document["profiles"][i]
    latents, overlap = WINDOWS[profile["profile"]]
    new = latents - overlap
    assert profile["window"] == {
        "latents": latents,
        "overlap_latents": overlap,
        "frames": 4 * latents - 3,
        "new_latents": new,
        "new_frames": 4 * new,
        "tokens": latents * profile["size"][0] * profile["size"][1] // 256,
    }
    assert list(profile["stages"]) == STAGES
    counts = {
        "VAE encode": (new * RUNS, latents + new),
        "DiT control": (RUNS, 2),
        "DiT step": (2 * RUNS, 4),
        "VAE decode": (new * RUNS, 2 * new),
    }
    for name, stage in profile["stages"].items():
        raw = stage["samples_s"]
        count, warmup = counts.get(name, (50, 3))
        assert (len(raw), stage["count"], len(stage["warmup_s"])) == (count, count, warmup), name
        assert min(raw) > 0
        assert stage["mean_s"] == pytest.approx(np.mean(raw))
        for percent in (50, 90, 95, 99):
            assert stage[f"p{percent}_s"] == pytest.approx(np.percentile(raw, percent))


@pytest.mark.parametrize("i", [0, 1])
def test_speed_counts_new_frames_only(document, i):
    profile = document["profiles"][i]
    stages, window, network = profile["stages"], profile["window"], profile["network"]
    p50 = {name: np.median(stage["samples_s"]) for name, stage in stages.items()}
    seconds = window["new_latents"] * (p50["VAE encode"] + p50["VAE decode"]) + p50["DiT control"] + 2 * p50["DiT step"]
    assert network["seconds_per_window"] == pytest.approx(seconds)
    assert network["fps"] == pytest.approx(window["new_frames"] / seconds)
    compute_s = np.percentile(network["window"]["samples_s"], 99)
    for fps in (25, 30):
        delay = profile["latency"]["at_fps"][str(fps)]
        assert delay["buffer_s"] == window["frames"] / fps
        assert delay["total_s"] == pytest.approx(window["frames"] / fps + compute_s)


@pytest.mark.parametrize("i", [0, 1])
def test_arithmetic_and_shares(document, i):
    profile = document["profiles"][i]
    width, height = SIZES[profile["profile"]]
    tokens = profile["window"]["tokens"]
    expected = {
        "VAE encode": encode_work(VAE, height, width),
        "DiT control": control_work(DIT, tokens),
        "DiT step": step_work(DIT, tokens),
        "VAE decode": decode_work(VAE, height, width),
    }
    ceilings = document["ceilings"]
    for name, work in expected.items():
        stage = profile["stages"][name]
        assert (stage["flop"], stage["bytes"]) == (work.flop, 4 * work.values)
        rate = work.flop / np.median(stage["samples_s"]) / 1e12
        assert stage["tflop_per_s"] == pytest.approx(rate)
        assert stage["share_of_matrix"] == pytest.approx(rate / ceilings["matrix_tflops"]["fp32"])
        moved = 4 * work.values / np.median(stage["samples_s"]) / 1e9
        assert stage["share_of_copy"] == pytest.approx(moved / ceilings["copy_gb_per_s"])
    assert profile["step_flop"] == {name: part.flop for name, part in step_parts(DIT, tokens).items()}
    new = profile["window"]["new_latents"]
    per_window = (
        new * (expected["VAE encode"].flop + expected["VAE decode"].flop)
        + expected["DiT control"].flop
        + 2 * expected["DiT step"].flop
    )
    assert profile["network"]["flop_per_window"] == per_window


def test_the_whole_job_ran_over_two_steady_windows(document):
    found = document["profiles"][0]["end_to_end"]
    # 17 frames of the first window and 16 of each that follows.
    assert found["frames"] == 53 >= 17 + 2 * 16
    assert found["fps"] == pytest.approx(found["frames"] / found["seconds"])
    assert 0 < found["first_frame_s"] < found["seconds"]
    assert {"encode latents", "denoise", "decode latents", "composite", "encode"} <= set(found["stage_seconds"])


def test_what_was_not_measured_is_said(bench, document):
    ended = document["profiles"][1]["end_to_end"]
    assert "fps" in ended or "the prior saw text in" in ended["left_out"]
    for profile in document["profiles"]:
        assert profile["quality"] == {"not_measured": "the engine is the reference itself"}
    assert "quality not measured: the engine is the reference itself" in bench[1]


def test_peaks_of_memory(document):
    memory = document["profiles"][0]["memory"]
    parts = [memory["network"]["process_peak_bytes"], memory["end_to_end"]["process_peak_bytes"]]
    assert memory["process_peak_bytes"] == max(parts)
    # The interpreter and ONNX Runtime alone take as much.
    assert min(parts) > 50e6
    assert memory["gpu_peak_bytes"] is None or memory["gpu_peak_bytes"] >= 0


def test_tables_hold_the_figures(bench, document):
    folder, out = bench
    markdown = (folder / "a.md").read_text()
    for i, profile in enumerate(document["profiles"]):
        for name, stage in profile["stages"].items():
            row = [line for line in markdown.splitlines() if line.startswith(f"| {name} ")][i]
            cells = [cell.strip() for cell in row.strip("|").split("|")]
            assert cells[:3] == [name, stage["per"], str(stage["count"])]
            # Three digits are printed: half a unit of the last is 5 in 1000 at most.
            shown = [float(cell) for cell in cells[3:7]]
            assert shown == pytest.approx([1000 * stage[f"p{p}_s"] for p in (50, 90, 95, 99)], rel=0.0051)
            calls = stage.get("calls_per_window", profile["window"]["new_frames"])
            per_frame = 1000 * np.mean(stage["samples_s"]) * calls / profile["window"]["new_frames"]
            assert float(cells[8]) == pytest.approx(per_frame, rel=0.0051)
            assert name in out
        assert f"| {profile['profile']} | {'x'.join(map(str, profile['size']))} |" in markdown


def test_the_chart_is_a_picture_of_every_stage(bench, document):
    from clear_rt.bench.chart import COLOURS

    with av.open(str(bench[0] / "a.png")) as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert picture.shape[1] == 1400
    for colour in COLOURS.values():
        assert (picture == colour).all(-1).any()
    longest = max(document["profiles"][0]["stages"], key=lambda name: document["profiles"][0]["stages"][name]["mean_s"])
    assert longest in COLOURS


def test_a_document_beside_itself(bench):
    path = bench[0] / "a.json"
    assert read_document(path)["runs"] == RUNS
    text = compare(path, path)
    for name in STAGES:
        row = next(line for line in text.splitlines() if line.startswith("160x96") and f" {name} p50 " in line)
        assert row.split()[-1] == "1.00"
    assert "different" not in text
