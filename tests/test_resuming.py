"""Where an interrupted removal begins, by what is left of it, and which states it keeps."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from clear_rt.propagation import Known
from clear_rt.regions import RegionRun
from clear_rt.resuming import Resuming, Start
from clear_rt.shapes import Box
from clear_rt.veils.following import Veils

STOPS = (100, 200, 300, 400)
ALWAYS = [RegionRun(0, 1000, Box(0, 0, 16, 16))]
LINES = [RegionRun(50, 150, Box(0, 0, 16, 16)), RegionRun(300, 350, Box(0, 0, 16, 16))]
KNOWN = Known((np.zeros((2, 2), np.uint8),))


class Folder:
    """The states of a work folder in memory; `finished` segments of 100 frames each are done."""

    def __init__(self, finished, **states):
        self.segments = [SimpleNamespace(stop_frame=stop) for stop in STOPS[:finished]]
        self.states = {name: dict.fromkeys(numbers, name.encode()) for name, numbers in states.items()}

    def stored(self, name):
        return sorted(self.states.get(name, {}))

    def load(self, name, number):
        return self.states.get(name, {}).get(number) if number < len(self.segments) else None

    def store(self, name, data, number):
        self.states.setdefault(name, {})[number] = data

    def forget(self, name, number):
        self.states[name].pop(number, None)


def resuming(folder):
    segments = [SimpleNamespace(stop_frame=stop, copied=False) for stop in STOPS]
    finished = folder.segments[-1].stop_frame if folder.segments else 0
    return Resuming(
        folder, SimpleNamespace(plan=SimpleNamespace(until=lambda _: segments), finished_frames=finished), 400
    )


MODEL, BEHIND, VEILED = b"model", b"known", b"veils"


@pytest.mark.parametrize(
    ("runs", "finished", "states", "options", "expected"),
    [
        (ALWAYS, 0, {}, (True, True, False), [Start(0)]),
        (ALWAYS, 3, {"model": [2], "known": [2]}, (True, True, False), [Start(300, MODEL, BEHIND), Start(0)]),
        (ALWAYS, 3, {"model": [1], "known": [1, 2]}, (True, True, False),
         [Start(200, MODEL, BEHIND), Start(300, None, BEHIND), Start(0)]),
        (ALWAYS, 3, {"model": [1, 2], "known": [1]}, (True, True, False), [Start(200, MODEL, BEHIND), Start(0)]),
        (ALWAYS, 3, {"known": [2]}, (False, True, False), [Start(300, None, BEHIND), Start(0)]),
        (ALWAYS, 3, {}, (False, True, False), [Start(0)]),
        (ALWAYS, 3, {}, (False, False, False), [Start(300)]),
        (ALWAYS, 3, {}, (True, False, False), [Start(300), Start(0)]),
        (ALWAYS, 3, {"model": [1]}, (True, False, False), [Start(200, MODEL), Start(300), Start(0)]),
        (LINES, 2, {}, (True, True, False), [Start(200)]),
        (LINES, 3, {}, (True, True, False), [Start(200)]),
        (LINES, 3, {"known": [2]}, (True, True, False), [Start(300, None, BEHIND), Start(200)]),
        (LINES, 3, {}, (False, False, False), [Start(300)]),
        (LINES, 1, {"model": [0]}, (True, True, False), [Start(0)]),
        (ALWAYS, 3, {"veils": [2]}, (False, False, True), [Start(300, None, None, VEILED), Start(0)]),
        (ALWAYS, 3, {"known": [1, 2], "veils": [1]}, (False, True, True),
         [Start(200, None, BEHIND, VEILED), Start(0)]),
        (ALWAYS, 3, {"model": [2], "known": [2]}, (True, True, True), [Start(0)]),
        (ALWAYS, 3, {"known": [2]}, (False, True, True), [Start(0)]),
        (LINES, 2, {}, (True, True, True), [Start(200)]),
    ],
)  # fmt: skip
def test_the_best_start_comes_first(runs, finished, states, options, expected):
    generates, propagates, lifts = options
    found = resuming(Folder(finished, **states)).starts(runs, generates=generates, propagates=propagates, lifts=lifts)
    assert list(found) == expected


def test_nothing_is_begun_anew_where_packets_were_copied_first():
    """The first segment of a smart copy is not encoded, and nothing is finished yet but this."""
    folder = Folder(0)
    copied = resuming(folder)
    copied._finished_frames = 100
    assert list(copied.starts(LINES[1:], generates=True, propagates=True, lifts=True)) == [Start(100)]


def test_what_is_known_stays_as_long_as_a_state_of_the_model_needs_it():
    """The model's states are not taken at the end of every segment."""
    folder = Folder(0)
    one = resuming(folder)
    for number, stop in enumerate(STOPS):
        folder.segments = [SimpleNamespace(stop_frame=each) for each in STOPS[:number]]
        one.keep_known(ALWAYS, stop, KNOWN)
        if number == 1:
            one.keep_state(stop, MODEL)
    assert folder.stored("model") == [1]
    assert folder.stored("known") == [1, 2, 3]


def test_what_is_known_is_kept_only_before_frames_of_runs_where_segments_end():
    folder = Folder(0)
    for frame in (99, 100, 200, 300, 350):
        resuming(folder).keep_known(LINES, frame, KNOWN)
        resuming(folder).keep_veils(LINES, frame, Veils())
    assert folder.stored("known") == folder.stored("veils") == [0, 2]
