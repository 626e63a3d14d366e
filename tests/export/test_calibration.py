"""Calibration's windows: those that the run time makes of the same clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the models are written in torch: pip install '.[export]'")
pytest.importorskip("onnx", reason="reads graphs: pip install '.[export]'")

from benchmarks.embedded_weights import embedded_dit  # noqa: E402
from clear_rt.bundle import open_bundle  # noqa: E402
from clear_rt.config import CompositeConfig, DenoiseConfig, RunConfig  # noqa: E402
from clear_rt.errors import InputError  # noqa: E402
from clear_rt.export.calibration import StepCodec, generator_spec, windows  # noqa: E402
from clear_rt.export.config import ExportConfig  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.vae_step import EncoderStep  # noqa: E402
from clear_rt.remover import Remover  # noqa: E402
from clear_rt.runtime.onnx import OnnxEngine  # noqa: E402

STEPS = 2


class Listening(OnnxEngine):
    """The engine, which notes what it is asked."""

    def __init__(self, bundle):
        super().__init__(bundle)
        self.asked = []

    def velocity(self, latents, control, row):
        self.asked.append((latents.copy(), control.numpy().copy(), row))
        return super().velocity(latents, control, row)


@pytest.fixture(scope="module")
def bundle():
    return open_bundle()


@pytest.fixture(scope="module")
def dit(bundle):
    return embedded_dit(bundle.generator)


@pytest.fixture(scope="module")
def spec(bundle):
    """Windows as long as the clip, so that there is one, of 8 x 2 patches."""
    return replace(bundle.generator, default_steps=STEPS, window_latents=40, max_pixels=128 * 32)


@pytest.fixture(scope="module")
def found(bundle, dit, spec, subtitled):
    return list(windows(dit, [subtitled], spec, OnnxEngine(bundle), bundle))


def test_they_are_what_the_run_time_asks(bundle, spec, found, subtitled, tmp_path):
    """The window of `remove --fill model`, up to how far the engines agree, 1e-5 each step."""
    bundle = replace(bundle, generator=spec)
    engine = Listening(bundle)
    config = RunConfig(composite=CompositeConfig(fill="model"), denoise=DenoiseConfig(steps=STEPS, policy="stream"))
    Remover(config, bundle=bundle, engine=engine)(subtitled, tmp_path / "out.mp4")
    for window, (latents, control, row) in zip(found, engine.asked, strict=True):
        assert window.row.item() == row
        for tensor, array in ((window.latents[0], latents), (window.control_tokens, control)):
            assert tuple(tensor.shape) == array.shape
            assert np.linalg.norm(tensor.numpy() - array) < 1e-4 * np.linalg.norm(array)


def test_every_step_of_a_window_is_there_and_leads_to_the_next(dit, spec, found):
    table = spec.step_tables[STEPS]
    assert [window.row.item() for window in found] == list(table.rows) * (len(found) // STEPS)
    with torch.inference_mode():
        moved = found[0].latents + dit(*found[0]) * (table.sigmas[1] - table.sigmas[0])
    assert torch.allclose(moved, found[1].latents, atol=1e-5)
    assert torch.equal(found[1].control_tokens, found[0].control_tokens)


def test_without_a_draft_the_control_is_the_subtitled_crop(bundle, dit, spec, found, subtitled):
    spec = replace(spec, draft=False)
    subtitled_window = next(windows(dit, [subtitled], spec, OnnxEngine(bundle), bundle))
    assert subtitled_window.latents.shape == found[0].latents.shape
    assert torch.equal(subtitled_window.latents, found[0].latents)
    assert not torch.allclose(subtitled_window.control_tokens, found[0].control_tokens, atol=1e-2)


def test_the_middle_of_a_run_is_taken(bundle, dit, spec, subtitled):
    """A window of 5 frames at the start of the run would hold no text: it begins a scan before."""
    short = [replace(spec, window_latents=2, overlap_latents=1, draft=draft) for draft in (False, True)]
    plain, drafted = (next(windows(dit, [subtitled], one, OnnxEngine(bundle), bundle)) for one in short)
    assert plain.latents.shape[2] == 2
    assert not torch.allclose(plain.control_tokens, drafted.control_tokens, atol=1e-2)


def test_no_text_in_any_clip_is_said(bundle, dit, clean):
    with pytest.raises(InputError, match=r"found no text in .*city-clean\.mp4; give clips as they will be cleaned"):
        list(windows(dit, [clean], bundle.generator, OnnxEngine(bundle), bundle))
    with pytest.raises(InputError, match="found no text in none"):
        list(windows(dit, [], bundle.generator, OnnxEngine(bundle), bundle))


def test_a_video_that_is_none_is_said(bundle, dit, tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    with pytest.raises(InputError):
        list(windows(dit, [tmp_path / "clip.mp4"], bundle.generator, OnnxEngine(bundle), bundle))


def test_the_encoders_step_is_a_codec(randomise):
    step = randomise(EncoderStep(VaeConfig(base_width=4, res_blocks=1))).requires_grad_(False).eval()
    codec = StepCodec(step)
    frames = np.random.default_rng(0).standard_normal((3, 5, 16, 32), np.float32)
    latent, caches = codec.encode(frames[:, :1], None)
    later, _ = codec.encode(frames[:, 1:], caches)
    assert latent.shape == later.shape == (16, 2, 4)
    tensors = torch.from_numpy(frames)[None]
    _, *kept = step(tensors[:, :, :1])
    assert np.array_equal(later, step(tensors[:, :, 1:], *kept)[0][0, :, 0].numpy())


def test_the_spec_is_that_of_the_bundle_to_be(bundle):
    made = bundle.generator
    config = ExportConfig(
        steps=1, max_pixels=made.max_pixels, window_latents=made.window_latents, overlap_latents=made.overlap_latents,
        draft=made.draft,
    )  # fmt: skip
    known = generator_spec(config, VaeConfig())
    for name in ("latent_channels", "latent_px", "latent_frames", "multiple_px", "max_pixels", "profiles"):
        assert getattr(known, name) == getattr(made, name)
    for name in ("window_latents", "overlap_latents", "latents_fixed", "draft", "default_steps", "shift"):
        assert getattr(known, name) == getattr(made, name)
    assert known.step_tables == {1: made.step_tables[1]}
