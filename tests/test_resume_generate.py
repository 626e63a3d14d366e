"""A run that is left between two frames, taken up by another engine from bytes: the same frames, bit for bit."""

from __future__ import annotations

import gc
import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.config import DenoiseConfig
from clear_rt.generate import CropGenerator
from clear_rt.generator import StepTable
from clear_rt.report import Stopwatch
from clear_rt.states import StateError, Stored, packed, unpacked
from tests.block_engine import ROWS, SIGMAS, BlockEngine, spec

HEIGHT, WIDTH = 16, 32
POLICIES = ("paper", "reference", "stream")
TABLES = {steps: StepTable(SIGMAS[steps], ROWS[steps]) for steps in SIGMAS} | {1: StepTable((1.0, 0.0), (0,))}
PLANS = [(5, 2), (3, 1), (1, 0), (4, 3), (3, 0)]


class Half(BlockEngine):
    """Stops half-way, so that noise and neighbouring windows stay in the picture; knows how often it encoded."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = self.decoded = 0

    def encode(self, frames, caches):
        self.encoded += 1
        return super().encode(frames, caches)

    def decode(self, latent, caches):
        self.decoded += 1
        return super().decode(latent, caches)

    def velocity(self, latents, control, row):
        # Coupled along the window, so that a latent in another's place goes nowhere unseen.
        return super().velocity(latents, control, row) * np.float32(0.5) + np.roll(latents, 1, axis=1) * np.float32(0.1)


def _picture(index):
    return np.full((HEIGHT, WIDTH, 3), (7 * index) % 256, np.uint8)


def _generator(policy="paper", steps=2, plan=(5, 2), fixed=False, engine=None):
    generator_spec = spec(window_latents=plan[0], overlap_latents=plan[1], latents_fixed=fixed, step_tables=TABLES)
    return CropGenerator(engine or Half(), generator_spec, DenoiseConfig(policy=policy, steps=steps, seed=5))


def _frames(generator, total, state: Stored | None = None, stepped=lambda: None):
    """What is generated of the crops from the first one on that is needed."""
    begin = 0 if state is None else generator.first_crop(total, state)
    crops = map(_picture, range(begin, total))
    shown = generator.groups(crops, total, state)
    return generator.frames(3, shown, total, Stopwatch(), stepped, state)


def _whole(total, cuts, **options):
    """All frames of a run that nobody interrupts, and its states before some of them."""
    generator, states, found = _generator(**options), {}, []
    frames = _frames(generator, total)
    for index in range(total):
        if index in cuts:
            states[index] = packed(frames.state())
        found.append(next(frames).copy())
    return found, states, generator


def _assert_goes_on(found, states, total, **options):
    for cut, state in states.items():
        generator, told = _generator(**options), []
        frames = _frames(generator, total, unpacked(state), lambda told=told: told.append(1))
        calls = frames.calls
        rest = list(frames)
        assert len(rest) == total - cut
        assert all(a.tobytes() == b.tobytes() for a, b in zip(rest, found[cut:], strict=True))
        assert calls + len(told) == frames.calls == generator.calls(total)
        engine = generator.side.encode.__self__
        assert engine.decoded <= (total - cut + 3) // 4 + 1


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("steps", [1, 2, 3])
@pytest.mark.parametrize("total", [1, 2, 9, 17, 18, 42])
def test_it_goes_on_from_every_frame(policy, steps, total):
    found, states, _ = _whole(total, range(total), policy=policy, steps=steps)
    assert len(states) == total
    _assert_goes_on(found, states, total, policy=policy, steps=steps)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 90), st.sampled_from(POLICIES), st.sampled_from(PLANS), st.sampled_from([1, 2, 3]), st.booleans(),
    st.data(),
)  # fmt: skip
def test_it_does_for_any_plan_and_cut(total, policy, plan, steps, fixed, data):
    options = {"policy": policy, "steps": steps, "plan": plan, "fixed": fixed and policy != "reference"}
    cuts = data.draw(st.sets(st.integers(0, total - 1), min_size=1, max_size=3))
    found, states, _ = _whole(total, cuts, **options)
    _assert_goes_on(found, states, total, **options)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_run_may_be_left_again_and_again(policy):
    total = 40
    found, _, _ = _whole(total, (), policy=policy, steps=3)
    state, index = None, 0
    for stop in (1, 7, 8, 20, 33, total):
        frames = _frames(_generator(policy=policy, steps=3), total, None if state is None else unpacked(state))
        for frame in islice(frames, stop - index):
            assert frame.tobytes() == found[index].tobytes()
            index += 1
        state = packed(frames.state())
    assert index == total


@pytest.mark.parametrize("policy", POLICIES)
def test_nothing_is_encoded_twice_and_no_crop_is_asked_for_again(policy):
    total = 60
    _, states, generator = _whole(total, range(1, total), policy=policy)
    encoded = generator.side.encode.__self__.encoded
    for cut, state in states.items():
        again = _generator(policy=policy)
        stored = unpacked(state)
        begin = again.first_crop(total, stored)
        assert cut <= begin <= total
        list(_frames(again, total, stored))
        assert again.side.encode.__self__.encoded == encoded - stored.part("encoding").integer("count")


@pytest.mark.parametrize(
    ("policy", "total", "options"),
    [
        ("paper", 42, {"plan": (3, 1)}),
        ("paper", 42, {"steps": 1}),
        ("paper", 42, {"policy": "stream"}),
        ("paper", 5, {}),
        ("stream", 42, {"plan": (3, 1)}),
        ("stream", 42, {"policy": "paper"}),
        ("stream", 5, {}),
        ("reference", 5, {}),
    ],
)
def test_states_of_other_runs_are_refused(policy, total, options):
    _, states, _ = _whole(42, [9], policy=policy, steps=3)
    with pytest.raises(StateError):
        _frames(_generator(**{"policy": policy, "steps": 3} | options), total, unpacked(states[9]))


@pytest.mark.parametrize("policy", POLICIES)
def test_every_array_that_is_missing_or_of_another_shape_is_refused(policy):
    _, states, _ = _whole(60, [9], policy=policy)
    stored = unpacked(states[9])
    for name, array in stored._arrays.items():
        rest = {key: value for key, value in stored._arrays.items() if key != name}
        wrong = [rest]
        if array.ndim > 1:
            wrong += [rest | {name: array[..., :-1]}, rest | {name: array.astype(np.float16)}]
        for arrays in wrong:
            if name.startswith("decoding/frame") and arrays.get(name, np.empty(0)).shape in (array.shape, (0,)):
                # How many frames wait is for the caller's hash to know; engines differ in their type.
                continue
            with pytest.raises(StateError):
                _frames(_generator(policy=policy), 60, Stored(arrays))


class Plain:
    """An engine that keeps its caches to itself."""

    name = "plain"

    def __init__(self) -> None:
        engine = BlockEngine()
        self.encode, self.decode = engine.encode, engine.decode
        self.control, self.velocity, self.occlusion = engine.control, engine.velocity, engine.occlusion


def test_engines_without_states_say_so():
    _, states, _ = _whole(20, [9])
    generator = _generator(engine=Plain())
    frames = _frames(generator, 20)
    next(frames)
    with pytest.raises(StateError, match="cannot be taken out"):
        frames.state()
    with pytest.raises(StateError, match="cannot take up a state"):
        _frames(generator, 20, unpacked(states[9]))


@pytest.mark.parametrize("policy", ["paper", "stream"])
def test_taking_a_state_needs_its_own_size_and_leaves_nothing(policy):
    # Large enough for arrays to outweigh objects.
    crop, total = np.zeros((256, 512, 3), np.uint8), 60
    generator = _generator(policy=policy)
    frames = generator.frames(0, generator.groups((crop for _ in range(total)), total), total, Stopwatch())
    for _ in islice(frames, 30):
        pass
    gc.collect()
    tracemalloc.start()
    state = packed(frames.state())
    held, peak = tracemalloc.get_traced_memory()
    # A buffer that grows by an eighth at a time, and one array in the making.
    largest = max(array.nbytes for array in unpacked(state)._arrays.values())
    assert peak < 1.3 * len(state) + 2 * largest
    assert held < 1.02 * len(state) + 10_000
    tracemalloc.stop()
