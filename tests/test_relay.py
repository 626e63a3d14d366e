"""The relay between two passes: taken once, never kept for a pass that is past it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from clear_rt.relay import Relay


def test_what_was_put_is_taken_once():
    relay = Relay()
    relay.put(3, "three")
    assert relay.take(2) is None
    assert relay.take(3) == "three"
    assert len(relay) == 0


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 8)), max_size=60))
def test_nothing_is_held_that_the_pass_behind_is_past(moves):
    relay, put, last, taken = Relay(), [], 0, 0
    for is_put, gap in moves:
        if is_put:
            last += gap + 1
            relay.put(last, last)
            put += [last] if last > taken else []
        else:
            taken += gap + 1
            assert relay.take(taken) == (taken if taken in put else None)
            put = [index for index in put if index > taken]
        assert len(relay) == len(put)
