"""diffusers beside ours: its networks are as large as ours, its rows add up, and what is missing is said."""

from __future__ import annotations

import pytest

from clear_rt.bench import tables
from clear_rt.bench.baseline import BaselineTimes, baselines, measure_baseline, require_baselines
from clear_rt.bench.config import BenchConfig
from clear_rt.bench.network import Window
from clear_rt.bench.plan import planned
from clear_rt.bench.sizes import Sizes
from clear_rt.bench.work_dit import DitShape
from clear_rt.bundle import open_bundle
from clear_rt.cli import main
from clear_rt.errors import ConfigError, ExitStatus
from clear_rt.models.vae_config import VaeConfig
from clear_rt.runtime.device import gpu_count
from clear_rt.shapes import Size

SIZES = Sizes(
    DitShape(width=48, heads=2, layers=2, ffn_width=80, latent_channels=4, text_keys=5),
    VaeConfig(base_width=8, res_blocks=1, latent_channels=4, latent_means=(0.0,) * 4, latent_stds=(1.0,) * 4),
)
no_gpu = pytest.mark.skipif(gpu_count() > 0, reason="says what happens without a GPU")


@pytest.fixture(scope="module")
def torch():
    pytest.importorskip("diffusers", reason="the baseline is diffusers: pip install '.[export]'")
    return pytest.importorskip("torch")


def test_a_window_is_counted_as_ours_is():
    """Two steps of 3 s; coding 9 frames takes 6 and 12 s, of which 8 are new."""
    times = BaselineTimes(3.0, 6.0, 12.0, Window(3, 1), "native")
    assert (times.window.frames, times.window.new_frames) == (9, 8)
    assert times.seconds_per_window(2) == pytest.approx(2 * 3 + 8 / 9 * 18)
    assert times.fps(2) == pytest.approx(8 / 22)


def test_networks_are_of_the_bundle_s_sizes(torch):
    from clear_rt.bench.diffusers_networks import transformer_of, vae_of
    from clear_rt.models.dit import Dit
    from clear_rt.models.dit_config import DitConfig
    from clear_rt.models.vae import Vae

    cpu = torch.device("cpu")
    config = DitConfig(width=48, heads=2, layers=2, ffn_width=80, latent_channels=4, image_width=0, ref_conv=False)
    with torch.device("meta"):
        ours = Dit(config), Vae(SIZES.vae)
    theirs = transformer_of(SIZES.dit, cpu), vae_of(SIZES.vae, cpu)
    for one, other in zip(ours, theirs, strict=True):
        assert sum(p.numel() for p in one.parameters()) == sum(p.numel() for p in other.parameters())
        assert {p.dtype for p in other.parameters()} == {torch.bfloat16}
    pytest.importorskip("peft", reason="the reference's LoRA is peft's")
    adapted = transformer_of(SIZES.dit, cpu, adapted=True)
    # Ten linears a block, 64 times their inputs and outputs.
    added = 2 * 64 * (8 * (48 + 48) + 2 * (48 + 80))
    assert sum(p.numel() for p in adapted.parameters()) - sum(p.numel() for p in theirs[0].parameters()) == added
    assert vae_of(SIZES.vae, cpu, tiled=True).use_tiling


@pytest.mark.parametrize("name", ["diffusers", "reference"])
def test_it_runs_where_there_is_no_gpu_as_well(torch, name):
    from clear_rt.bench.diffusers_networks import BACKENDS, transformer_of

    if name == "reference":
        pytest.importorskip("peft", reason="the reference's LoRA is peft's")
    found = measure_baseline(name, SIZES, Size(32, 16), Window(2, 1), torch.device("cpu"), step_runs=1, coding_runs=1)
    assert min(found.step_s, found.encode_s, found.decode_s) > 0
    assert found.attention in BACKENDS
    assert found.window == Window(2, 1)
    # What was tried is nobody else's default from then on.
    fresh, like = transformer_of(SIZES.dit, torch.device("cpu")), {"dtype": torch.bfloat16}
    with torch.no_grad():
        answer = fresh(torch.randn(1, 12, 2, 2, 4, **like), torch.tensor([1]), torch.randn(1, 8, 4096, **like))
    assert answer.sample.isfinite().all()


def test_rows_stand_beside_ours(torch, monkeypatch):
    def measured(name, sizes, size, window, device):
        assert (sizes, size, device.type) == (SIZES, Size(160, 96), "cuda")
        if name == "compile":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 5 GiB")
        if name == "reference":
            raise RuntimeError("no LoRA\nhere")
        return BaselineTimes(3.0, 6.0, 12.0, window, "native")

    monkeypatch.setattr("clear_rt.bench.baseline.measure_baseline", measured)
    bundle, names = open_bundle(), ("diffusers", "compile", "reference")
    plans = planned(BenchConfig(profiles=("160x96",), steps=2), bundle, bundle.generator)
    ours = [{"profile": "160x96", "network": {"fps": 4.0}}]
    rows = baselines(names, plans, SIZES, ours)
    assert [(row["profile"], row["baseline"]) for row in rows] == [("160x96", name) for name in names]
    # 16 of 17 frames are new: 6 s of steps, 16 / 17 of 18 s.
    seconds = 6 + 18 * 16 / 17
    assert rows[0]["seconds_per_window"] == pytest.approx(seconds)
    assert rows[0]["fps"] == pytest.approx(16 / seconds)
    assert rows[0]["ratio"] == pytest.approx(4 * seconds / 16)
    assert rows[1]["not_measured"].startswith("the GPU's memory does not hold it")
    assert rows[2]["not_measured"] == "no LoRA here"
    # A profile of ours that ran out of memory has nothing to compare with.
    assert baselines(names[:1], plans, SIZES, [])[0]["ratio"] is None
    shown = tables._baselines({"baselines": rows}).as_text().splitlines()
    assert shown[2].split()[-1] == f"{rows[0]['ratio']:.2f}"
    assert [line.split()[-1] for line in shown[3:]] == ["-", "-"]


def test_names(capfd):
    assert main(["bench", "--baseline", "tensorflow"]) == ExitStatus.USAGE
    assert "--baseline" in capfd.readouterr().err
    with pytest.raises(ConfigError, match="different ones of diffusers, compile, reference, got compile, compile"):
        BenchConfig(baselines=("compile", "compile"))


@no_gpu
def test_without_a_gpu_it_is_said_before_anything_is_measured(capfd, monkeypatch):
    require_baselines(())
    monkeypatch.setattr("clear_rt.runtime.onnx.OnnxEngine.__init__", None)
    assert main(["bench", "--profile", "160x96", "--baseline", "diffusers"]) == ExitStatus.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert err == "clear-rt: --baseline diffusers needs an NVIDIA GPU, and there is none here; leave it out\n"


def test_without_diffusers_it_is_said(monkeypatch, torch):
    from clear_rt.errors import EngineError

    monkeypatch.setattr("clear_rt.bench.baseline.gpu_count", lambda: 1)
    monkeypatch.setitem(__import__("sys").modules, "diffusers", None)
    with pytest.raises(
        EngineError, match=r"--baseline compile needs torch and diffusers.*pip install 'clear-rt\[export\]'"
    ):
        require_baselines(("compile",))
