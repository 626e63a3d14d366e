"""Denoising with latents on the device: every policy and plan gives the bits, and the failures, that numpy gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the canvas is torch: pip install '.[export]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.denoise import denoise  # noqa: E402
from clear_rt.errors import EngineError  # noqa: E402
from clear_rt.generator import StepTable  # noqa: E402
from clear_rt.noise import drawn  # noqa: E402
from clear_rt.runtime.cuda.canvas import DeviceCanvas  # noqa: E402
from clear_rt.runtime.cuda.latent_ops import KernelLatentOps, TorchLatentOps  # noqa: E402
from clear_rt.schedule import sigmas  # noqa: E402
from clear_rt.windows import plan_windows  # noqa: E402

SHAPE = (3, 2, 4)
POLICIES = ("paper", "reference", "stream")
# Latents, window, overlap: shorter than a window, as long, one more, whole strides, a last window slid back far, no
# overlap, more than half a window shared by up to four, windows of one, the bundles' own. `reference` counts frames.
PLANS = [
    (1, 9, 2), (5, 9, 2), (9, 9, 2), (10, 9, 2), (16, 9, 2), (23, 9, 2), (41, 9, 0), (20, 5, 4), (30, 7, 5), (6, 1, 0),
    (47, 21, 4), (25, 3, 1), (60, 4, 3),
]  # fmt: skip
CPU = torch.device("cpu")


def table(steps):
    """Rows that differ from the step's number."""
    return StepTable(sigmas(steps), tuple(3 * step + 1 for step in range(steps)))


class Mixed:
    """Sums of distant latents of a window and of its control, by weights of place and row, through v / (1 + v v).

    Only products, sums and quotients of floats, one operation at a time: IEEE 754 leaves no choice in their bits.
    """

    def __init__(self, spoil=None, at=0):
        self.spoil, self.at, self.calls = spoil, at, 0

    def control(self, latents):
        return latents * 0.75

    def velocity(self, latents, control, row):
        self.calls += 1
        length, columns = latents.shape[1], []
        # In 64ths, which float32 holds exactly: they mean the same to numpy and to torch.
        mixing = np.random.default_rng([length, row]).integers(-64, 65, (length, 4)) / 64
        for t, (own, others, mirrored, control_share) in enumerate(mixing.tolist()):
            total = latents[:, t] * own + latents[:, (t + length // 2) % length] * others
            total = total + latents[:, length - 1 - t] * mirrored
            total = total + control[:, (t + 1) % length] * control_share
            columns.append(total / (total * total + 1.0))
        found = self.answer(latents, columns)
        # What it was given is its own: whoever calls it may not use it again.
        latents[:] = float("nan")
        return self.spoil(found) if self.calls == self.at else found

    def answer(self, latents, columns):
        return np.stack(columns, axis=1)


class Borrowed(Mixed):
    """The same on tensors, its answers in memory that is overwritten with the next call, as an engine's are."""

    def __init__(self, *spoilt):
        super().__init__(*spoilt)
        self._answered = None

    def control(self, latents):
        self._forget()
        assert latents.is_contiguous()
        return super().control(latents)

    def velocity(self, latents, control, row):
        self._forget()
        assert (latents.dtype, latents.is_contiguous()) == (torch.float32, True)
        return super().velocity(latents, control, row)

    def answer(self, latents, columns):
        self._answered = torch.stack(columns, dim=1)
        return self._answered

    def _forget(self):
        if self._answered is not None:
            self._answered.fill_(torch.nan)


def controls(total):
    return [drawn(1, 9)(t, SHAPE) for t in range(total)]


def on_host(plan, steps, policy, *spoilt):
    return denoise(controls(plan.total_latents), drawn(0, 0), Mixed(*spoilt), plan, table(steps), policy)


def on_device(plan, steps, policy, *spoilt, ops=None, device=CPU, given=None):
    given = given or [torch.from_numpy(latent).to(device) for latent in controls(plan.total_latents)]
    canvas = DeviceCanvas(plan, table(steps), device, ops or TorchLatentOps())
    return denoise(given, drawn(0, 0), Borrowed(*spoilt), plan, table(steps), policy, canvas)


def assert_same_bits(found, expected):
    found, expected = list(found), list(expected)
    assert len(found) == len(expected)
    for t, (latent, exact) in enumerate(zip(found, expected, strict=True)):
        assert np.isfinite(exact).all()
        assert latent.cpu().numpy().tobytes() == exact.tobytes(), t


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_it_is_numpy_bit_for_bit(asked, policy, steps):
    plan = plan_windows(*asked, policy)
    assert_same_bits(on_device(plan, steps, policy), on_host(plan, steps, policy))


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 7), st.data(), st.sampled_from(POLICIES), st.integers(1, 4))
def test_it_is_numpy_for_any_plan(total, window, data, policy, steps):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), policy)
    assert_same_bits(on_device(plan, steps, policy), on_host(plan, steps, policy))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asked", [(5, 9, 2), (13, 5, 1), (7, 4, 3), (5, 3, 0)], ids=str)
def test_the_kernels_are_numpy_bit_for_bit(asked, policy):
    """On a GPU, or in Triton's interpreter."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    # In frames a window of `reference` is longer: 5 latents here, 4 of them shared.
    plan = plan_windows(*(asked if policy != "reference" else (asked[0], 2, 1)), policy)
    assert_same_bits(on_device(plan, 2, policy, ops=KernelLatentOps(), device=device), on_host(plan, 2, policy))


@pytest.mark.gpu
@pytest.mark.parametrize("kind", [KernelLatentOps, TorchLatentOps])
@pytest.mark.parametrize("policy", POLICIES)
def test_on_a_gpu_every_plan_is_numpy_bit_for_bit(policy, kind):
    for asked in PLANS:
        plan = plan_windows(*asked, policy)
        found = on_device(plan, 4, policy, ops=kind(), device=torch.device("cuda"))
        assert_same_bits(found, on_host(plan, 4, policy))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_whoever_gets_a_latent_owns_it_and_no_more(asked, policy):
    """Spoilt as soon as they come, latents spoil nothing that follows; one keeps no window in memory."""
    plan = plan_windows(*asked, policy)
    kept = []
    for latent in on_device(plan, 3, policy):
        assert (latent.dtype, latent.shape, latent.is_contiguous()) == (torch.float32, SHAPE, True)
        assert latent.untyped_storage().nbytes() == 4 * latent.numel()
        kept.append(latent.clone())
        latent.fill_(torch.nan)
    assert_same_bits(kept, on_host(plan, 3, policy))


@pytest.mark.parametrize("policy", POLICIES)
def test_the_caller_keeps_control_and_noise_as_they_were(policy):
    plan = plan_windows(23, 9, 2, policy)
    noise = [drawn(0, 0)(t, SHAPE) for t in range(23)]
    given = [torch.from_numpy(latent) for latent in controls(23)]
    canvas = DeviceCanvas(plan, table(3), CPU, TorchLatentOps())
    found = denoise(given, lambda t, _: noise[t], Borrowed(), plan, table(3), policy, canvas)
    assert_same_bits(found, on_host(plan, 3, policy))
    assert_same_bits(given, controls(23))
    for t, latent in enumerate(noise):
        np.testing.assert_array_equal(latent, drawn(0, 0)(t, SHAPE))


def test_canvases_of_two_runs_do_not_meet():
    plans = plan_windows(23, 9, 2, "paper"), plan_windows(20, 5, 4, "stream")
    first, second = (on_device(plan, 3, policy) for plan, policy in zip(plans, ("paper", "stream"), strict=True))
    found, other = [], []
    for _ in range(20):
        found.append(next(first))
        other.append(next(second))
    assert_same_bits([*found, *first], on_host(plans[0], 3, "paper"))
    assert_same_bits([*other, *second], on_host(plans[1], 3, "stream"))


def sentence(run):
    """What a run fails with, and how many latents came before it did."""
    found = []
    with pytest.raises(EngineError) as caught:
        found.extend(run)
    return str(caught.value), len(found)


def poison(value):
    def spoil(found):
        found[1, -1, 0, 2] = found[0, 0, 1, 3] = value
        return found

    return spoil


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(("policy", "at"), [("paper", 1), ("paper", 6), ("stream", 9), ("reference", 2)])
def test_what_is_not_finite_fails_the_run_in_the_same_words(policy, at, value):
    plan = plan_windows(23, 9, 2, policy)
    found = sentence(on_device(plan, 3, policy, poison(value), at))
    assert found == sentence(on_host(plan, 3, policy, poison(value), at))
    assert "found 2 of" in found[0]


def half(found):
    return found.half() if isinstance(found, torch.Tensor) else found.astype(np.float16)


def double(found):
    return found.double() if isinstance(found, torch.Tensor) else found.astype(np.float64)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    "spoil", [half, double, lambda v: v[:, :-1], lambda v: v[None], lambda v: v[..., :1], lambda v: v[0]]
)
def test_a_velocity_of_another_form_fails_the_run_in_the_same_words(policy, spoil):
    plan = plan_windows(9, 9, 2, policy)
    found = sentence(on_device(plan, 3, policy, spoil, 2))
    assert found == sentence(on_host(plan, 3, policy, spoil, 2))
    assert "step 2 of 3: expected a velocity float32 [3, 9, 2, 4]" in found[0]


def test_a_velocity_in_the_networks_own_type_is_told_by_name():
    run = on_device(plan_windows(9, 9, 2, "paper"), 3, "paper", lambda v: v.bfloat16(), 1)
    assert "found bfloat16 [3, 9, 2, 4]" in sentence(run)[0]


@pytest.mark.parametrize("policy", POLICIES)
def test_control_that_ends_early_is_refused(policy):
    plan = plan_windows(23, 9, 2, policy)
    with pytest.raises(ValueError, match="expected 23 control latents, got 22"):
        list(on_device(plan, 2, policy, given=[torch.from_numpy(latent) for latent in controls(22)]))
