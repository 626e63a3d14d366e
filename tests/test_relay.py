"""The relay between two passes: everything computed once, whoever comes first, and nothing kept that both have."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.errors import EngineError
from clear_rt.relay import Relay


@given(st.lists(st.booleans(), max_size=60))
def test_everything_is_computed_once_and_held_as_long_as_one_pass_lacks_it(moves):
    """Moves of the first and of the second pass; both ask for one frame after another."""
    relay, computed, asked = Relay(), [], [0, 0]
    for mover in moves:
        index = asked[mover]
        assert relay.of(index, lambda index=index: computed.append(index) or f"frame {index}") == f"frame {index}"
        asked[mover] += 1
        assert computed == list(range(max(asked)))
        assert len(relay) == abs(asked[0] - asked[1])


def test_who_comes_second_waits_for_the_first():
    relay, begun, release, found = Relay(), threading.Event(), threading.Event(), []

    def slowly():
        begun.set()
        release.wait()
        return "slow"

    first = threading.Thread(target=lambda: found.append(relay.of(3, slowly)))
    first.start()
    begun.wait()
    threading.Timer(0.01, release.set).start()
    assert relay.of(3, lambda: pytest.fail("computed twice")) == "slow"
    first.join()
    assert found == ["slow"]


def test_an_error_reaches_both():
    relay = Relay()

    def fail():
        raise EngineError("the prior failed; try again")

    for _ in range(2):
        with pytest.raises(EngineError, match="the prior failed"):
            relay.of(0, fail)
    assert len(relay) == 0
