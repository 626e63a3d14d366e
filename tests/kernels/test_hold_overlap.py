"""Holding an overlap and fading it out, against the policy they stand for, bit for bit, and against their formulas."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.denoise import denoise  # noqa: E402
from clear_rt.generator import StepTable  # noqa: E402
from clear_rt.kernels.hold_overlap import (  # noqa: E402
    fade_overlap,
    fade_overlap_ref,
    hold_overlap,
    hold_overlap_ref,
)
from clear_rt.kernels.window_step import window_step  # noqa: E402
from clear_rt.noise import drawn  # noqa: E402
from clear_rt.schedule import sigmas  # noqa: E402
from clear_rt.windows import fade_shares, plan_windows  # noqa: E402

STEPS = 2
# Latents, window and overlap: one window, a last one slid back over two before it, long overlaps, none.
PLANS = [(5, 9, 2), (9, 9, 2), (11, 5, 2), (8, 4, 3), (7, 3, 0), (3, 1, 0)]


class Stream:
    """A model whose every answer is also given to the kernels, which must then hold what it is asked next."""

    def __init__(self, plan, device, shape=(2, 3, 5)):
        self.plan, self.shape, self.device = plan, shape, device
        levels = sigmas(STEPS)
        self.table = StepTable(levels, tuple(range(STEPS)))
        self.sigmas = self.put(np.array(levels, np.float32))
        self.change = self.put(np.array([levels[i + 1] - levels[i] for i in range(STEPS)], np.float32))
        self.held = torch.empty(shape[0], 0, *shape[1:], device=device)
        self.clean = []
        self.asked = 0

    def put(self, array):
        return torch.from_numpy(array).to(self.device)

    def run(self):
        controls = (np.zeros(self.shape, np.float32) for _ in range(self.plan.total_latents))
        return np.stack(list(denoise(controls, drawn(0, 0), self, self.plan, self.table, "stream")), axis=1)

    def control(self, latents):
        window = self.plan.windows[self.asked]
        self.noise = self.put(np.stack([drawn(0, 0)(t, self.shape) for t in window], axis=1))
        self.latents = self.noise.clone()
        self.asked += 1
        return self.asked - 1

    def velocity(self, latents, i, row):
        step = torch.tensor([row], device=self.device)
        hold_overlap(self.latents, self.held, self.noise, self.sigmas, step)
        assert latents.tobytes() == self.latents.cpu().numpy().tobytes()
        velocity = np.sin(7 * latents + np.roll(latents, 1, axis=1) + i + row, dtype=np.float32)
        self._move(self.put(velocity), step)
        if row == STEPS - 1:
            self._finish(i)
        return velocity

    def _move(self, velocity, step):
        ones = torch.ones(velocity.shape[1], device=self.device)
        sums = torch.full_like(velocity, torch.nan)
        window_step(self.latents, sums, velocity, 0, ones, ones.bool(), ones.bool(), self.change, step)

    def _finish(self, i):
        fade_overlap(self.latents, self.held, *map(self.put, fade_shares(self.plan)[i]))
        done = self.plan.next_start(i) - self.plan.windows[i].start
        self.clean.append(self.latents[:, :done])
        self.held = self.latents[:, done:].contiguous()


@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_they_are_the_policy_bit_for_bit(device, asked):
    model = Stream(plan_windows(*asked, "stream"), device)
    assert model.run().tobytes() == torch.cat(model.clean, 1).cpu().numpy().tobytes()


@settings(deadline=None, max_examples=8)
@given(st.integers(1, 16), st.integers(1, 5), st.data())
def test_they_are_the_policy_for_any_plan(total, window, data):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), "stream")
    model = Stream(plan, "cuda" if torch.cuda.is_available() else "cpu", shape=(1, 1, 3))
    assert model.run().tobytes() == torch.cat(model.clean, 1).cpu().numpy().tobytes()


@given(st.integers(1, 300), st.integers(1, 24), st.data())
def test_shares_of_the_new_and_the_held_add_up_to_one(total, window, data):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), "stream")
    assert len(fade_shares(plan)) == len(plan.windows)
    for i, (fresh, kept) in enumerate(fade_shares(plan)):
        shared = plan.windows[i - 1].stop - plan.windows[i].start if i else 0
        assert fresh.shape == kept.shape == (shared,)
        assert fresh.dtype == kept.dtype == np.float32
        assert ((fresh > 0) & (kept > 0)).all()
        # Each is rounded once, and their sum, here.
        assert (abs(fresh + kept - 1) <= 2.0**-23).all()


def arguments(draw, *, channels=2, total=5, shared=3, height=3, width=5):
    """Of `hold_overlap`; the latents to be set are NaN, as they are not to be read."""
    latents = draw(channels, total, height, width)
    latents[:, :shared] = torch.nan
    return {
        "latents": latents,
        "held": draw(channels, shared, height, width),
        "noise": draw(channels, total, height, width),
        "sigmas": draw(4).abs(),
        "step": torch.tensor([1], device=latents.device),
    }


def fading(draw, **sizes):
    """Of `fade_overlap`."""
    inputs = arguments(draw, **sizes)
    shared = inputs["held"].shape[1]
    return {"latents": inputs["noise"], "held": inputs["held"], "shares": draw(shared), "kept": draw(shared)}


def cases(draw, **sizes):
    """Both operations with their inputs, what they should give, and that in float64."""
    inputs = arguments(draw, **sizes)
    sigma = inputs["sigmas"][inputs["step"]]
    tensors = (inputs["latents"], inputs["held"], inputs["noise"], sigma)
    yield hold_overlap, inputs, hold_overlap_ref(*tensors), hold_overlap_ref(*(t.double() for t in tensors))
    inputs = fading(draw, **sizes)
    tensors = tuple(inputs.values())
    yield fade_overlap, inputs, fade_overlap_ref(*tensors), fade_overlap_ref(*(t.double() for t in tensors))


@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"channels": 1, "total": 1, "shared": 1, "height": 1, "width": 1},
        {"total": 4, "shared": 4, "height": 35, "width": 31},
    ],
    ids=str,
)
def test_they_are_their_formulas(draw, sizes):
    """In fp32 bit for bit: a product is not fused with a sum in either. In float64 within four roundings."""
    for op, inputs, wanted, exact in cases(draw, **sizes):
        op(**inputs)
        assert torch.equal(inputs["latents"], wanted)
        magnitude = 2 * max(t.abs().max() for t in inputs.values()) ** 2
        assert ((inputs["latents"].double() - exact).abs() <= 4 * 2.0**-24 * magnitude).all()


def test_nothing_beside_the_tensors_is_read_or_written(draw):
    """Every tensor amid NaN, or amid steps that would show."""
    for op, inputs, wanted, _ in cases(draw):
        amid = {}
        for name, tensor in inputs.items():
            beside = torch.nan if tensor.is_floating_point() else 0
            flat = torch.full((tensor.numel() + 2000,), beside, dtype=tensor.dtype, device=tensor.device)
            flat[1000:-1000] = tensor.flatten()
            amid[name] = flat
        views = {name: flat[1000:-1000].view(inputs[name].shape) for name, flat in amid.items()}
        op(**views)
        assert torch.equal(views["latents"], wanted)
        assert amid["latents"][[*range(1000), *range(-1000, 0)]].isnan().all()


@pytest.mark.parametrize("step", [-1, 4])
def test_a_step_that_is_not_in_the_table_leaves_no_number_that_could_pass(draw, step):
    inputs = arguments(draw) | {"step": torch.tensor([step], dtype=torch.int32).to(draw(1).device)}
    inputs["latents"][:] = 0
    hold_overlap(**inputs)
    assert inputs["latents"][:, :3].isnan().all()
    assert (inputs["latents"][:, 3:] == 0).all()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: {"latents": v["latents"].half()}, "expected latents of float32, got float16"),
        (lambda v: {"latents": v["latents"][:, :2].contiguous()}, "expected held of 2 latents or fewer, as .*, got 3"),
        (lambda v: {"held": v["held"][..., :4]}, r"expected held \[C = 2, S, h = 3, w = 5\], got \[2, 3, 3, 4\]"),
        (
            lambda v: {"held": v["latents"][:, :3]},
            r"expected held with stride 45 along axis C, got strides \(75, 15, 5, 1\); call .contiguous",
        ),
        (lambda v: {"noise": v["noise"][:, :4]}, r"expected noise \[C = 2, L = 5, h = 3, w = 5\], got \[2, 4, 3, 5\]"),
        (lambda v: {"sigmas": v["sigmas"].double()}, "expected sigmas of float32, got float64"),
        (lambda v: {"step": v["step"].float()}, "expected step of int32 or int64, got float32"),
    ],
)
def test_what_cannot_be_held_is_refused_by_name(draw, change, said):
    inputs = arguments(draw)
    with pytest.raises(ValueError, match=f"hold_overlap: {said}"):
        hold_overlap(**inputs | change(inputs))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda v: {"held": v["held"].half()}, "expected held of float32, got float16"),
        (lambda v: {"shares": v["shares"][:2]}, r"expected shares \[S = 3\], got \[2\]"),
        (lambda v: {"kept": v["kept"].double()}, "expected kept of float32, got float64"),
    ],
)
def test_what_cannot_be_faded_is_refused_by_name(draw, change, said):
    inputs = fading(draw)
    with pytest.raises(ValueError, match=f"fade_overlap: {said}"):
        fade_overlap(**inputs | change(inputs))


def test_ops_are_complete_for_compile_and_export(draw):
    checks = ("test_schema", "test_faketensor")
    torch.library.opcheck(hold_overlap, tuple(arguments(draw).values()), test_utils=checks)
    torch.library.opcheck(fade_overlap, tuple(fading(draw).values()), test_utils=checks)
    latents, held, shares, kept = fading(draw).values()
    exported = torch.export.export(Fade(), (latents, held, shares, kept)).module()
    found, wanted = latents.clone(), latents.clone()
    fade_overlap(wanted, held, shares, kept)
    assert torch.equal(exported(found, held, shares, kept), wanted * 2)
    assert torch.equal(found, wanted)


class Fade(torch.nn.Module):
    def forward(self, latents, held, shares, kept):
        fade_overlap(latents, held, shares, kept)
        return latents * 2


@pytest.mark.gpu
def test_an_overlap_of_720p_is_its_formula(draw):
    for op, inputs, wanted, _ in cases(draw, channels=16, total=21, shared=4, height=90, width=160):
        op(**inputs)
        assert torch.equal(inputs["latents"], wanted)
