"""What is measured at a profile: its size, its window, and what is said where the bundle makes another of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from clear_rt.bench.config import BenchConfig
from clear_rt.bench.network import Window
from clear_rt.bench.plan import planned
from clear_rt.bundle import open_bundle
from clear_rt.errors import ConfigError
from clear_rt.export.config import PATCH_PX
from clear_rt.profiles import NAMES, read_profile
from clear_rt.profiles import PATCH_PX as PROFILE_PX
from clear_rt.shapes import Box, Size


def _planned(*profiles, bundle=None, **changed):
    bundle = bundle or open_bundle()
    spec = replace(bundle.generator, **{name: changed.pop(name) for name in list(changed) if name in _SPEC})
    return planned(BenchConfig(profiles=profiles, **changed), bundle, spec)


_SPEC = ("window_latents", "overlap_latents", "latents_fixed", "max_pixels", "profiles")
WAN = {"window_latents": 21, "overlap_latents": 4, "max_pixels": 1280 * 720}


def test_regions_lie_at_the_lower_edge_of_their_pictures():
    assert read_profile("720p-band192").box == Box(0, 528, 1280, 192)
    assert read_profile("1080p-band272").box == Box(0, 808, 1920, 272)
    assert read_profile("320x64").box == Box(0, 0, 320, 64)
    assert PROFILE_PX == PATCH_PX


@pytest.mark.parametrize("name", NAMES)
def test_named_profiles_of_a_bundle_as_large_as_wan(name):
    (plan,) = _planned(name, **WAN)
    assert plan.size == read_profile(name).region
    assert plan.notes == ()
    assert plan.window == (Window(9, 2) if name == "live33" else Window(21, 4))
    assert plan.policy == ("stream" if name == "live33" else "paper")


def test_a_region_that_is_too_large_is_scaled_and_that_is_said():
    (plan,) = _planned("720p-band192")
    assert plan.size.width_px * plan.size.height_px <= 184320
    assert (plan.size.width_px % 16, plan.size.height_px % 16) == (0, 0)
    assert "the region of 1280x192 as 1072x160: it takes 184320 pixels at most" in plan.notes[0]


def test_fixed_shapes_are_used_as_they_are():
    (plan,) = _planned("720p-band192", profiles=(Size(1280, 256), Size(640, 64)))
    assert plan.size == Size(1280, 256)
    assert "1280x256: its engines are for other sizes" in plan.notes[0]


def test_windows_of_another_length():
    assert _planned("160x96x17")[0].window == Window(5, 1)
    assert _planned("160x96x33")[0].window == Window(9, 2)
    with pytest.raises(ConfigError, match=r"live33 has windows of 9 latents, and those of bundle clear-tiny always"):
        _planned("live33", latents_fixed=True)
    with pytest.raises(ConfigError, match="hold, for policy reference, 5"):
        _planned("live33", policy="reference")
    assert _planned("160x96", policy="reference")[0].window == Window(17, 4)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"profiles": ("8k",)}, "--profile must be one of 480p, 720p"),
        ({"profiles": ("160x96",), "steps": 7}, "7"),
        ({"profiles": ("160x96", "160x96")}, "different profiles"),
        ({"profiles": ("160x96",), "runs": 0}, "--runs must be 1"),
        ({"profiles": ("160x96",), "steps": 0}, "--steps must be 1 or more"),
        ({"profiles": ()}, "none"),
    ],
)
def test_what_cannot_be_planned(options, said):
    with pytest.raises(ConfigError, match=said):
        _planned(*options.pop("profiles"), **options)
