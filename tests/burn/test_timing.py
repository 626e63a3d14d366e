"""Timing models and lines in two languages; the first six scripts keep their sequences."""

import hashlib
from itertools import islice, pairwise

import pytest

from clear_rt.burn.lines import Caption, disjoint, endless_captions
from clear_rt.burn.looks import LOOKS
from clear_rt.burn.recipe import Recipe
from clear_rt.burn.scripts import ALL_SCRIPTS, SCRIPTS
from clear_rt.burn.timing import TIMINGS


def captions(count=60, **timing):
    return list(islice(endless_captions(tuple(SCRIPTS), 3, **timing), count))


@pytest.mark.parametrize("name", list(TIMINGS))
def test_captions_keep_to_their_model(name):
    timing = TIMINGS[name]
    found = captions(timing=timing)
    assert all(timing.shown_us[0] <= c.stop_us - c.start_us <= timing.shown_us[1] for c in found)
    gaps = [after.start_us - before.stop_us for before, after in pairwise(found)]
    held = [gap for gap in gaps if gap > 0]
    assert all(timing.gap_us[0] <= gap <= timing.gap_us[1] for gap in held)
    # Three standard deviations of a binomial.
    assert abs(len(held) - timing.gap_share * 59) <= 3 * (59 * timing.gap_share * (1 - timing.gap_share)) ** 0.5
    assert min(gaps) >= 0


def test_made_up_captions_are_those_of_earlier_versions():
    digest = hashlib.sha256()
    for caption in captions(200):
        digest.update(repr((caption.start_us, caption.stop_us, caption.lines, caption.script, caption.top)).encode())
    assert digest.hexdigest()[:16] == "c032b2b87dfa9442"


def test_two_languages_are_two_lines_in_two_scripts():
    for caption in captions(bilingual=True):
        assert len(caption.lines) == 2
        assert caption.second != caption.script
        assert caption.second in ALL_SCRIPTS
    alone = list(islice(endless_captions(("en",), 3, bilingual=True), 3))
    assert [(c.script, c.second) for c in alone] == [("en", "zh")] * 3


def test_flattening_keeps_the_second_language_of_a_caption_that_stands_alone():
    alone = Caption(0, 10, ("a", "你"), "en", second="zh")
    assert disjoint([alone]) == (alone,)
    assert [c.second for c in disjoint([alone, Caption(5, 10, ("b",), "en")])] == ["zh", None]


def test_a_crawl_is_given_time_to_pass():
    assert Recipe(look=LOOKS["crawl"]).times == TIMINGS["long"]
    assert Recipe(look=LOOKS["crawl"], timing="short").times == TIMINGS["short"]
    assert Recipe(look=LOOKS["outline"]).times == TIMINGS["film"]
