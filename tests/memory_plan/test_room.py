"""What fits and what does not, what is said of it, and where a limit does not apply."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from clear_rt.bench.sizes import Sizes
from clear_rt.bench.work_dit import DitShape
from clear_rt.bundle import open_bundle
from clear_rt.cli import main
from clear_rt.config import CompositeConfig, DenoiseConfig, RegionConfig, RunConfig
from clear_rt.errors import ConfigError, EngineError, ExitStatus
from clear_rt.memory_plan import facts, room, transformer
from clear_rt.memory_plan.plan import CUDA_BYTES, Subject, memory_plan
from clear_rt.memory_plan.removal import admit_removal
from clear_rt.memory_plan.room import Limit, Room, limit_of, read_bytes, room_for
from clear_rt.memory_plan.subject import real_subject, subject_of, under_way
from clear_rt.models.vae_config import VaeConfig
from clear_rt.runtime.device import Gpu
from clear_rt.shapes import Box, Size

FULL, BAND = Size(1280, 720), Size(1280, 192)
H100 = Gpu(name="NVIDIA H100", capability=90, memory_bytes=85 * 10**9, cuda="13.0", driver="580")
WAN = {"window_latents": 21, "overlap_latents": 4, "max_pixels": 1280 * 720, "default_steps": 5}


@pytest.fixture
def bundle():
    """clear-tiny, had it windows of Wan and weights for the engine cuda; without a file of these."""
    opened = open_bundle()
    return replace(opened, engines=("onnx", "cuda"), generator=replace(opened.generator, **WAN))


@pytest.fixture
def on_a_gpu(monkeypatch):
    monkeypatch.setattr(room, "first_gpu", lambda: H100)
    monkeypatch.setattr("clear_rt.runtime.engine.gpu_count", lambda: 1)


@pytest.fixture
def real(bundle):
    """Room for the real model, in a run with a limit of so many gigabytes."""

    def of(gigabytes, precision="bf16", **changed):
        spec = replace(bundle.generator, **changed)
        return Room(real_subject(), precision, spec, Limit(int(gigabytes * 10**9), f"--max-memory {gigabytes}GB"))

    return of


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("8GB", 8 * 10**9),
        ("40GiB", 40 * 2**30),
        ("0.5 gib", 2**29),
        ("512MiB", 2**29),
        ("1.5TB", 1_500_000_000_000),
        (" 3kB ", 3000),
    ],
)
def test_sizes(text, count):
    assert read_bytes(text) == count


@pytest.mark.parametrize("text", ["", "8", "GB", "-8GB", "0GB", "0.0001kB", "8 G", "8GBs", "nanGB", "1e3GB", "8,5GB"])
def test_no_sizes(text):
    with pytest.raises(ConfigError, match="--max-memory must be a size such as 8GB or 40GiB, got "):
        read_bytes(text)


def test_a_plan_by_hand():
    """One stage, one block, a latent of a window: small enough to add up on paper."""
    dit = DitShape(width=4, heads=2, layers=1, ffn_width=6, latent_channels=2, text_keys=3)
    vae = VaeConfig(base_width=2, multipliers=(1,), res_blocks=1, latent_channels=2, temporal_down=(),
                    latent_means=(0.0,) * 2, latent_stds=(1.0,) * 2)  # fmt: skip
    plan = memory_plan(Subject(sizes=Sizes(dit, vae), timesteps=1, window_latents=1, windows=1), Size(4, 2), "bf16")
    # 8 pixels are 8 latents here, two tokens. Encoder: convolutions of 3, and of 2 channels twice in three residual
    # blocks, and of 2 in the head, keep two frames each; decoder the same with one residual block more.
    assert plan.lasting["VAE, frames kept"] == 2 * 2 * 8 * ((3 + 3 * 2 * 2 + 2) + (2 + 4 * 2 * 2 + 2))
    # Three frames of 4 x 6 positions: of 32 channels for either coder's first convolution, of 2 for all the others,
    # and of 4, which is what the encoder's last one makes and the 1x1 after it takes without a buffer.
    assert plan.lasting["VAE, shared buffers"] == 2 * 3 * 24 * (32 + 2)
    # Two tokens of eight values: latents and control in bfloat16, velocity in float32; control of the window, and
    # latents and sums of it and two more.
    assert plan.lasting["windows in and out"] == 2 * 8 * (2 * 2 + 4 + 2 + 4 + 3 * 2 * 4)
    # One frame of 3 channels and a latent of 2, for both steps of both coders.
    assert plan.lasting["pictures in and out"] == 2 * 2 * (2 * 8 * 3 + 2 * 8 * 2)
    # The window is one frame.
    assert plan.lasting["generated frames waiting"] == 2 * 3 * 8
    # Latents and control tokens, then ten rows of the width in self-attention, or six and the wide layer.
    assert plan.step == 2 * (2 * 8) + 2 * 2 * 4 + 2 * 2 * max(9 * 4, 6 * 4 + 6)
    assert plan.total == sum(plan.parts.values())


def test_what_runs_first_makes_room_for_what_follows():
    plan = memory_plan(real_subject(), FULL, "bf16")
    largest = max(plan.encode, plan.step, plan.decode)
    assert plan.activations == plan.step == largest
    # Encoding leaves its graph; beside it, not in it, the step runs once; beside the larger of both, decoding.
    assert plan.warm_up == max(plan.encode, plan.decode)
    assert plan.total == sum(plan.lasting.values()) + largest + plan.warm_up + CUDA_BYTES
    assert plan.allocated == sum(plan.lasting.values()) + largest


def test_the_two_limits_of_the_design():
    full, band = (memory_plan(real_subject(), size, "bf16") for size in (FULL, BAND))
    assert full.total < 40e9
    assert band.total < 8e9
    assert band.total - CUDA_BYTES < full.total / 2
    # Everything that flows grows with the picture, or with the bundle's weights not at all.
    for part in ("windows in and out", "pictures in and out", "VAE, frames kept"):
        assert full.lasting[part] * 192 == pytest.approx(band.lasting[part] * 720, rel=1e-3)
    assert full.lasting["transformer"] == band.lasting["transformer"]


def test_loading_counts_files_that_are_narrower():
    wide = memory_plan(real_subject(), BAND, "bf16")
    narrow = memory_plan(replace(real_subject(), stored_bytes=2), BAND, "bf16")
    # The transformer in float32 with the VAE, or with its file of half of that.
    parameters, vae = transformer.parameters(real_subject().sizes.dit, real_subject().timesteps), 126_892_003
    assert wide.loading == pytest.approx(4 * (parameters + vae), rel=1e-3)
    assert narrow.loading == pytest.approx(6 * parameters, rel=1e-3)
    tiny = memory_plan(replace(real_subject(), stored_bytes=2), Size(16, 16), "bf16")
    assert tiny.total == tiny.loading + CUDA_BYTES == tiny.allocated + CUDA_BYTES


def test_what_does_not_fit_is_refused_with_what_does(real):
    real(40).require(FULL)
    with pytest.raises(EngineError) as refused:
        real(12).require(FULL)
    said = str(refused.value)
    assert said.startswith(
        "--max-memory 12GB does not hold a region of 1280x720 in windows of 81 frames: about 19.1 GB"
    )
    width, height = map(int, re.search(r"a smaller --region \((\d+)x(\d+) fits\)", said).groups())
    # The largest that does: one row of patches more does not.
    real(12).require(Size(width, height))
    with pytest.raises(EngineError):
        real(12).require(Size(width, height + 16))
    assert "fp8" not in said
    assert "windows of 33" not in said


def test_remedies_are_those_that_help(real):
    between = sum(memory_plan(real_subject(), FULL, precision).total for precision in ("bf16", "fp8")) / 2e9
    with pytest.raises(EngineError, match=r"fits\) or a bundle with windows of 33 frames or a bundle in fp8$"):
        real(between).require(FULL)
    real(between, "fp8").require(FULL)
    real(between).require(FULL, window_latents=9)
    with pytest.raises(EngineError, match=r"use a GPU with more memory$"):
        real(1).require(FULL)
    with pytest.raises(EngineError, match=r"\(640x320 fits\)"):
        real(14, profiles=(FULL, Size(640, 320), Size(320, 320))).require(FULL)


def test_the_largest_region_decides(real):
    picture = Size(1280, 720)
    small, large = Box(0, 0, 640, 80), Box(0, 0, 1280, 720)
    real(12).admit(picture, [small, small])
    with pytest.raises(EngineError, match="1280x720"):
        real(12).admit(picture, [small, large])
    # What the bundle scales down takes what it was scaled to.
    real(12, max_pixels=1280 * 192).admit(picture, [large])
    real(8).admit(picture, [])
    with pytest.raises(EngineError, match="a region of 16x16"):
        real(5).admit(picture, [])


def test_windows_under_way():
    assert [under_way(policy, 4) for policy in ("paper", "reference", "stream")] == [4, 4, 1]
    spec = open_bundle().generator
    found = subject_of(spec, DenoiseConfig(steps=3, policy="reference"))
    assert (found.window_latents, found.windows, found.stored_bytes) == (17, 3, 4)


def test_the_smaller_limit_counts():
    assert limit_of(10**9, "1GB", H100) == Limit(10**9, "--max-memory 1GB")
    assert limit_of(10**12, "1TB", H100) == Limit(85 * 10**9, "this GPU (NVIDIA H100, 85.0 GB)")
    assert limit_of(None, None, H100).bytes == H100.memory_bytes
    assert limit_of(None, None, None) is None


def test_where_nothing_is_planned(bundle, monkeypatch):
    assert room_for(bundle, "onnx", "auto", DenoiseConfig(), None) is None
    monkeypatch.setattr(room, "first_gpu", lambda: None)
    assert room_for(bundle, "cuda", "auto", DenoiseConfig(), None) is None
    for engine, kernels, said in (
        ("onnx", "auto", "is for --engine cuda, and onnx would run; leave it out"),
        ("cuda", "auto", "there is no GPU here; leave it out"),
    ):
        with pytest.raises(ConfigError, match=said):
            room_for(bundle, engine, kernels, DenoiseConfig(), "8GB")


def test_where_torch_would_run(bundle, on_a_gpu):
    with pytest.raises(ConfigError, match="is planned for --kernels triton, and torch would run"):
        room_for(bundle, "cuda", "torch", DenoiseConfig(), "8GB")
    assert room_for(bundle, "cuda", "torch", DenoiseConfig(), None) is None
    # Whoever opens the engine says that the bundle holds nothing for it.
    assert room_for(open_bundle(), "cuda", "auto", DenoiseConfig(), "8GB") is None


def test_a_removal_is_refused_before_its_engine_is_opened(bundle, on_a_gpu, subtitled):
    def config(**region):
        return RunConfig(composite=CompositeConfig(fill="model"), engine="cuda", region=RegionConfig(**region))

    whole, fixed = config(mode="full"), config(mode="fixed", boxes=(Box(0, 300, 720, 100),))
    with pytest.raises(EngineError, match=r"720x416 in windows of 81 frames.*use a smaller --region \(720x"):
        admit_removal(subtitled, whole, bundle, "1300MB")
    admit_removal(subtitled, fixed, bundle, "1300MB")
    admit_removal(subtitled, config(), bundle, "1300MB")
    admit_removal(subtitled, whole, bundle, None)
    with pytest.raises(EngineError, match="a GPU with more memory"):
        admit_removal(subtitled, config(), bundle, "500MB")
    # A box outside of the picture is somebody else's to refuse.
    admit_removal(subtitled, config(mode="fixed", boxes=(Box(9000, 0, 16, 16),)), bundle, "1300MB")
    admit_removal(subtitled, RunConfig(), bundle, None)


def test_facts_of_the_real_model_and_of_a_bundle(bundle, monkeypatch):
    monkeypatch.setattr(facts, "first_gpu", lambda: None)
    found = facts.plan_facts("720p", open_bundle(), "24GB")
    assert found["of"].startswith("Wan2.1-Fun-V1.1-1.3B-Control")
    assert (found["size"], found["window_frames"], found["windows_under_way"]) == ([1280, 720], 81, 5)
    plan = memory_plan(real_subject(), FULL, "bf16")
    assert found["precisions"]["bf16"]["total_bytes"] == plan.total
    assert [each["fits"] for each in found["precisions"].values()] == [plan.total <= 24 * 10**9, True]
    assert facts.plan_facts("live33", open_bundle(), None)["window_latents"] == 9
    own = facts.plan_facts("160x96", bundle, None)
    assert own["of"].startswith("bundle clear-tiny")
    assert own["limit"] is None
    assert {each["fits"] for each in own["precisions"].values()} == {None}
    assert own["precisions"]["bf16"]["total_bytes"] < CUDA_BYTES + 200e6


def test_the_command_prints_a_table(capfd):
    assert main(["info", "--plan", "720p-band192", "--max-memory", "9GiB"]) == 0
    out, err = capfd.readouterr()
    assert err == ""
    assert "region of 1280x192, 5 windows of 81 frames under way" in out
    rows = {line[:30].strip(): line[30:].split() for line in out.splitlines()}
    total = [f"{memory_plan(real_subject(), BAND, precision).total / 1e9:.2f}" for precision in ("bf16", "fp8")]
    assert rows["total"] == total
    assert "fits --max-memory 9GiB" in out


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--plan", "8k"], "--plan must be one of 480p"),
        (["--plan", "100x100"], "--plan needs sides that are multiples of 16 px"),
        (["--plan", "720p", "--max-memory", "much"], "--max-memory must be a size"),
        (["--max-memory", "8GB"], "add --plan"),
    ],
)
def test_what_cannot_be_planned(capfd, options, said):
    assert main(["info", *options]) == ExitStatus.USAGE
    out, err = capfd.readouterr()
    assert out == ""
    assert said in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("options", [[], ["--fill", "model"], ["--fill", "model", "--engine", "onnx"]])
def test_a_limit_where_it_does_not_apply(capfd, tmp_path, subtitled, options):
    arguments = ["remove", str(subtitled), "-o", str(tmp_path / "out.mp4"), "--max-memory", "8GB", *options]
    assert main(arguments) == ExitStatus.USAGE
    said = capfd.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    assert "leave it out" in said or "leave out --max-memory" in said
    assert not list(tmp_path.iterdir())
