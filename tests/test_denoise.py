"""Denoising in windows: the wavefront is the all-resident computation bit for bit, in bounded memory."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.denoise import denoise
from clear_rt.errors import EngineError
from clear_rt.generator import StepTable
from clear_rt.noise import drawn
from clear_rt.schedule import sigmas
from clear_rt.windows import WindowPlan, plan_windows, ramp

SHAPE = (3, 2, 4)
COUPLED = ("paper", "reference")
POLICIES = (*COUPLED, "stream")
PLANS = [
    (1, 9, 2), (5, 9, 2), (9, 9, 2), (10, 9, 2), (17, 9, 2), (23, 9, 2), (40, 9, 2), (41, 9, 0), (33, 5, 4),
    (30, 7, 5), (12, 1, 0), (47, 21, 4), (60, 3, 1), (90, 9, 2),
]  # fmt: skip


def table(steps: int) -> StepTable:
    """Rows that differ from the step's number, as a table shared by several step counts has."""
    return StepTable(sigmas(steps), tuple(3 * step + 1 for step in range(steps)))


class Answer:
    """What `control` hands out; only the toy knows what is inside."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class Toy:
    """tanh of random mixtures of all latents of the window, of its control and of the row: nonlinear, coupled, float32.

    Sums run in a fixed order, latent by latent, so equal inputs give equal bits wherever they lie in memory.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[int, int]] = []
        self.answers: list[weakref.ref[Answer]] = []

    def control(self, latents: np.ndarray) -> Answer:
        assert latents.dtype == np.float32
        answer = Answer(np.roll(latents, 1, axis=2) * np.float32(0.7))
        self.answers.append(weakref.ref(answer))
        return answer

    def velocity(self, latents: np.ndarray, control: Answer, row: int) -> np.ndarray:
        assert latents.dtype == np.float32
        self.calls.append((latents.shape[1], row))
        length = latents.shape[1]
        # Divided by the length it neither fades nor blows up what one window's rounding hands on to the next.
        mixing = np.random.default_rng([length, row]).standard_normal((2, length, length), np.float32) / np.float32(
            length
        )
        result = np.zeros_like(latents)
        for t in range(length):
            for s in range(length):
                result[:, t] += (
                    mixing[0, t, s] * np.roll(latents[:, s], 1, axis=0) + mixing[1, t, s] * control.values[:, s]
                )
        # What it was given is its own: whoever calls it may not use it again.
        answer = np.tanh(result)
        latents[:] = np.nan
        return answer


def controls(total: int, seed: int = 1) -> list[np.ndarray]:
    return [drawn(seed, 9)(t, SHAPE) for t in range(total)]


def run(plan: WindowPlan, steps: int, policy: str, model: Toy | None = None, noise=None) -> list[np.ndarray]:
    noise = noise or drawn(0, 0)
    return list(denoise(iter(controls(plan.total_latents)), noise, model or Toy(), plan, table(steps), policy))


def start(total: int) -> np.ndarray:
    return np.stack([drawn(0, 0)(t, SHAPE) for t in range(total)], axis=1)


def all_resident(plan: WindowPlan, steps: int) -> np.ndarray:
    """Every step for the whole clip at once, in plain loops: what the wavefront must equal."""
    total, levels, model = plan.total_latents, sigmas(steps), Toy()
    latents, whole = start(total), np.stack(controls(total), axis=1)
    sums = np.zeros(total, np.float32)
    for i, window in enumerate(plan.windows):
        for k, t in enumerate(window):
            sums[t] = sums[t] + ramp(plan, i)[k]
    for step in range(steps):
        velocity = np.zeros_like(latents)
        for i, window in enumerate(plan.windows):
            span = slice(window.start, window.stop)
            answer = model.control(whole[:, span].copy())
            found = model.velocity(latents[:, span].copy(), answer, 3 * step + 1)
            for k, t in enumerate(window):
                velocity[:, t] = velocity[:, t] + found[:, k] * (ramp(plan, i)[k] / sums[t])
        latents = latents + velocity * np.float32(levels[step + 1] - levels[step])
    return latents


def one_by_one(plan: WindowPlan, steps: int) -> np.ndarray:
    """Policy `stream` in plain loops over float64 copies of every window's result: what it must be near to."""
    levels, model = sigmas(steps), Toy()
    noise, whole = start(plan.total_latents), np.stack(controls(plan.total_latents), axis=1)
    blended, weights = np.zeros(noise.shape), np.zeros(plan.total_latents)
    for i, window in enumerate(plan.windows):
        answer = model.control(whole[:, window.start : window.stop].copy())
        latents = noise[:, window.start : window.stop].astype(np.float64)
        for step in range(steps):
            for k, t in enumerate(window):
                if weights[t] > 0:
                    latents[:, k] = (1 - levels[step]) * blended[:, t] / weights[t] + levels[step] * noise[:, t]
            velocity = model.velocity(latents.astype(np.float32), answer, 3 * step + 1)
            latents += velocity.astype(np.float64) * (levels[step + 1] - levels[step])
        for k, t in enumerate(window):
            blended[:, t] += ramp(plan, i)[k] * latents[:, k]
            weights[t] += ramp(plan, i)[k]
    return blended / weights[:, None, None]


def same_bits(found: list[np.ndarray], expected: np.ndarray) -> bool:
    return len(found) == expected.shape[1] and all(
        latent.tobytes() == expected[:, t].tobytes() for t, latent in enumerate(found)
    )


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("policy", COUPLED)
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_the_wavefront_is_the_all_resident_computation(asked, policy, steps):
    plan = plan_windows(*asked, policy)
    assert same_bits(run(plan, steps, policy), all_resident(plan, steps))


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 40), st.integers(1, 8), st.data(), st.sampled_from(COUPLED), st.integers(1, 4))
def test_the_wavefront_is_it_for_any_plan(total, window, data, policy, steps):
    plan = plan_windows(total, window, data.draw(st.integers(0, window - 1)), policy)
    assert same_bits(run(plan, steps, policy), all_resident(plan, steps))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("total", [1, 4, 9])
def test_one_window_is_the_plain_sampler(total, policy):
    """Euler without windows, weights or copies, as reference.md 5.2 has it."""
    plan = plan_windows(total, 9, 2, policy)
    model, levels, latents = Toy(), sigmas(5), start(total)
    answer = model.control(np.stack(controls(total), axis=1))
    for step in range(5):
        change = np.float32(levels[step + 1] - levels[step])
        latents = latents + model.velocity(latents.copy(), answer, 3 * step + 1) * change
    assert same_bits(run(plan, 5, policy), latents)


def test_reference_is_global_below_its_window_of_frames():
    """33 latents, as many as 9 latents have frames, are still one window; paper has five there, and other numbers."""
    plan = plan_windows(33, 9, 2, "reference")
    model = Toy()
    found = run(plan, 3, "reference", model)
    assert model.calls == [(33, 1), (33, 4), (33, 7)]
    assert not np.array_equal(np.stack(found), np.stack(run(plan_windows(33, 9, 2, "paper"), 3, "paper")))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_stream_is_its_definition(asked, steps):
    plan = plan_windows(*asked, "stream")
    found = np.stack(run(plan, steps, "stream"), axis=1)
    # Values reach 5 and are rounded to 2**-24 of that some ten times a step, in at most five windows sharing a latent.
    np.testing.assert_allclose(found, one_by_one(plan, steps), rtol=0, atol=5 * 50 * 5 * 2.0**-24)


@pytest.mark.parametrize("policy", POLICIES)
def test_noise_and_control_of_what_is_far_behind_change_nothing(policy):
    """A longer clip begins like a shorter one, up to what the coupling reaches."""
    steps, short, long = 2, plan_windows(37, 9, 2, policy), plan_windows(58, 9, 2, policy)
    if policy == "reference":
        short, long = plan_windows(33 + 25 * 3, 9, 2, policy), plan_windows(33 + 25 * 5, 9, 2, policy)
    a, b = run(short, steps, policy), run(long, steps, policy)
    reach = short.windows[-1].start - (0 if policy == "stream" else steps * len(short.windows[0]))
    assert reach > 0
    assert all(a[t].tobytes() == b[t].tobytes() for t in range(reach))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_all_is_float32_and_whoever_gets_it_owns_it(asked, policy):
    plan = plan_windows(*asked, policy)
    expected = run(plan, 3, policy)
    found = []
    for latent in denoise(iter(controls(plan.total_latents)), drawn(0, 0), Toy(), plan, table(3), policy):
        assert (latent.dtype, latent.shape) == (np.float32, SHAPE)
        assert latent.flags.c_contiguous
        found.append(latent.copy())
        latent[:] = np.nan
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_the_caller_keeps_control_and_noise_as_they_were(policy):
    plan = plan_windows(23, 9, 2, policy)
    given_control, given_noise = controls(23), [drawn(0, 0)(t, SHAPE) for t in range(23)]
    for array in (*given_control, *given_noise):
        array.flags.writeable = False
    found = list(denoise(given_control, lambda t, _: given_noise[t], Toy(), plan, table(3), policy))
    assert np.array_equal(found, run(plan, 3, policy))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_each_window_is_asked_once_for_control_and_once_a_step(asked, policy):
    plan, model = plan_windows(*asked, policy), Toy()
    run(plan, 3, policy, model)
    assert len(model.answers) == len(plan.windows)
    assert sorted(model.calls) == sorted((len(window), row) for window in plan.windows for row in (1, 4, 7))


@dataclass
class Ledger:
    """What the run has been given, what it has handed out, and through weak references what of it is still alive."""

    total: int
    pulled: int = 0
    drawn: int = 0
    yielded: int = 0
    control: list[weakref.ref[np.ndarray]] = field(default_factory=list)
    clean: list[weakref.ref[np.ndarray]] = field(default_factory=list)
    most_resident: int = 0
    most_control: int = 0

    def controls(self):
        for t in range(self.total):
            self.pulled += 1
            yield self._watched(t)

    def _watched(self, t: int) -> np.ndarray:
        latent = drawn(1, 9)(t, SHAPE)
        self.control.append(weakref.ref(latent))
        return latent

    def noise(self, latent: int, shape: tuple[int, ...]) -> np.ndarray:
        self.drawn = max(self.drawn, latent + 1)
        return drawn(0, 0)(latent, shape)

    def look(self) -> None:
        self.most_resident = max(self.most_resident, self.drawn - self.yielded)
        self.most_control = max(self.most_control, sum(ref() is not None for ref in self.control))


class Watched(Toy):
    """The toy, with a look at the ledger whenever it is asked something."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__()
        self.ledger = ledger
        self.most_answers = 0

    def velocity(self, latents, control, row):
        self.ledger.look()
        self.most_answers = max(self.most_answers, sum(ref() is not None for ref in self.answers))
        return super().velocity(latents, control, row)


def watch(plan: WindowPlan, steps: int, policy: str) -> tuple[Ledger, Watched]:
    """Runs to the end, and checks after every latent that nothing which was handed out is held on to."""
    ledger = Ledger(plan.total_latents)
    model = Watched(ledger)
    for latent in denoise(ledger.controls(), ledger.noise, model, plan, table(steps), policy):
        ledger.yielded += 1
        assert all(ref() is None for ref in ledger.clean)
        ledger.clean.append(weakref.ref(latent))
        del latent
    assert ledger.yielded == plan.total_latents
    assert all(ref() is None for ref in (*ledger.clean, *ledger.control, *model.answers))
    return ledger, model


def most_shared(plan: WindowPlan) -> int:
    """Latents that a window leaves to the next."""
    return max(window.stop - plan.next_start(i) for i, window in enumerate(plan.windows))


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("policy", COUPLED)
@pytest.mark.parametrize("asked", [*PLANS, (150, 9, 2), (149, 9, 2), (61, 4, 3)], ids=str)
def test_a_wavefront_holds_no_more_than_steps_and_two_windows(asked, policy, steps):
    plan = plan_windows(*asked, policy)
    ledger, model = watch(plan, steps, policy)
    assert ledger.most_resident <= (steps + 2) * len(plan.windows[0])
    assert ledger.most_control <= most_shared(plan)
    overlapping = max(sum(t in window for window in plan.windows) for t in range(plan.total_latents))
    assert model.most_answers <= steps * overlapping + 1


@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_stream_holds_one_window(asked):
    plan = plan_windows(*asked, "stream")
    ledger, model = watch(plan, 3, "stream")
    assert ledger.most_resident <= len(plan.windows[0])
    assert ledger.most_control <= most_shared(plan)
    assert model.most_answers == 1


@pytest.mark.parametrize("asked", PLANS, ids=str)
def test_stream_yields_a_window_before_it_looks_at_the_next(asked):
    plan = plan_windows(*asked, "stream")
    ledger = Ledger(plan.total_latents)
    stops = {t: window.stop for i, window in enumerate(plan.windows) for t in range(window.start, plan.next_start(i))}
    for t, _ in enumerate(denoise(ledger.controls(), ledger.noise, Toy(), plan, table(3), "stream")):
        assert ledger.pulled == stops[t]


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_a_wavefront_looks_no_further_than_each_step_reaches(steps):
    """The first latents need a window for each step; after that, a window in is a window out."""
    plan = plan_windows(9 + 7 * 19, 9, 2, "paper")
    ledger = Ledger(plan.total_latents)
    for t, _ in enumerate(denoise(ledger.controls(), ledger.noise, Toy(), plan, table(steps), "paper")):
        last_needed = min(t // 7 + steps - 1, len(plan.windows) - 1)
        assert ledger.pulled <= plan.windows[last_needed].stop


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_pulled_before_the_first_latent_is_wanted(policy):
    ledger = Ledger(90)
    stream = denoise(ledger.controls(), ledger.noise, Toy(), plan_windows(90, 9, 2, policy), table(2), policy)
    assert (ledger.pulled, ledger.drawn) == (0, 0)
    next(stream)
    assert ledger.pulled < 90


class Halving:
    """A quick model, for runs that are long."""

    def control(self, latents: np.ndarray) -> None:
        return None

    def velocity(self, latents: np.ndarray, control: None, row: int) -> np.ndarray:
        return latents * np.float32(0.5)


@pytest.mark.parametrize("policy", ["paper", "stream"])
def test_memory_does_not_grow_with_the_clip(policy):
    shape = (16, 18, 20)
    latent = np.zeros(shape, np.float32)

    def peak_bytes(total: int) -> int:
        plan = plan_windows(total, 5, 1, policy)
        gc.collect()
        tracemalloc.start()
        for _ in denoise((latent for _ in range(total)), lambda t, s: latent, Halving(), plan, table(3), policy):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    short, long = peak_bytes(60), peak_bytes(240)
    # A plan and its weights cost some hundred bytes a latent, a latent held would cost 23,040.
    assert long < short + 180 * 1000
    # Latents and velocities of steps + 2 windows, and four windows in the making.
    assert short < (2 * 5 + 4) * 5 * latent.nbytes


class Broken(Toy):
    """The toy, whose answer number `at`, counted from 1, is spoilt."""

    def __init__(self, at: int, spoil) -> None:
        super().__init__()
        self.at, self.spoil = at, spoil

    def velocity(self, latents, control, row):
        found = super().velocity(latents, control, row)
        return self.spoil(found) if len(self.calls) == self.at else found


def poison(value: float):
    def spoil(found: np.ndarray) -> np.ndarray:
        found[1, -1, 0, 2] = value
        return found

    return spoil


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    ("policy", "at", "place"),
    [
        ("paper", 1, r"window 1 of 3 \(latents 0 to 8\), step 1 of 3"),
        ("paper", 3, r"window 1 of 3 \(latents 0 to 8\), step 2 of 3"),
        ("stream", 9, r"window 3 of 3 \(latents 14 to 22\), step 3 of 3"),
        ("reference", 2, r"window 1 of 1 \(latents 0 to 22\), step 2 of 3"),
    ],
)
def test_what_is_not_finite_fails_the_run_and_says_where(policy, at, place, value):
    plan = plan_windows(23, 9, 2, policy)
    with pytest.raises(EngineError, match=rf"{place}: .*found 1 of \d+ NaN or infinite; try") as caught:
        run(plan, 3, policy, Broken(at, poison(value)))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda v: v[:, :-1], r"float32 \[3, \d+, 2, 4\]"),
        (lambda v: v[None], r"float32 \[1, 3, \d+, 2, 4\]"),
        (lambda v: v[:, :, :, :1], r"float32 \[3, \d+, 2, 1\]"),
        (lambda v: v.astype(np.float64), r"float64 \[3, \d+, 2, 4\]"),
        (lambda v: v.astype(np.float16), r"float16 \[3, \d+, 2, 4\]"),
    ],
)
def test_a_velocity_of_another_form_fails_the_run(policy, spoil, found):
    with pytest.raises(
        EngineError, match=rf"window 1 of \d.*, step 2 of 3: expected a velocity .*, found {found}; build"
    ):
        run(plan_windows(9, 9, 2, policy), 3, policy, Broken(2, spoil))


@pytest.mark.parametrize("policy", POLICIES)
def test_latents_that_were_final_before_a_failure_are_out_already(policy):
    plan = plan_windows(90, 9, 2, policy)
    whole = Toy()
    expected = run(plan, 2, policy, whole)
    model, got = Broken(len(whole.calls), poison(np.nan)), []
    with pytest.raises(EngineError):
        got.extend(denoise(iter(controls(90)), drawn(0, 0), model, plan, table(2), policy))
    assert 0 < len(got) < 90
    assert all(a.tobytes() == b.tobytes() for a, b in zip(got, expected, strict=False))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("missing", [1, 8, 22])
def test_control_that_ends_early_is_refused(policy, missing):
    plan = plan_windows(23, 9, 2, policy)
    with pytest.raises(ValueError, match=f"expected 23 control latents, got {23 - missing}"):
        list(denoise(controls(23 - missing), drawn(0, 0), Toy(), plan, table(2), policy))
