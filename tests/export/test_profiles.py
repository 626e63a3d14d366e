"""Shapes of regions by name and by size, and what is said of those that cannot be."""

import pytest

from clear_rt.errors import ConfigError
from clear_rt.export.profiles import NAMES, Profiles, read_profiles
from clear_rt.shapes import Size


def test_names_and_sizes_come_largest_first_and_once():
    found = read_profiles(["720p-band192", "1280x192", "720p", "1080p-band272", "64x1280"])
    assert found == Profiles((Size(1280, 720), Size(1920, 272), Size(1280, 192), Size(64, 1280)), None)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_a_size_that_engines_take(name):
    (size,), latents = read_profiles([name])
    assert size.width_px % 16 == size.height_px % 16 == 0
    assert latents == (9 if name == "live33" else None)


def test_frames_are_those_of_the_window():
    assert read_profiles(["320x64x17", "640x192"]) == Profiles((Size(640, 192), Size(320, 64)), 5)
    assert read_profiles(["320x64x1"]).window_latents == 1
    assert read_profiles([]) == Profiles((), None)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("8k", "one of 480p, 720p, 720p-band192, 720p-band256, 1080p-band272, live33, WxH or WxHxFRAMES, got '8k'"),
        ("", "got ''"),
        ("1280×192", "got '1280×192'"),
        ("1280x200", "multiples of 16 px, got '1280x200'; try 1280x192"),
        ("0x64", "multiples of 16 px, got '0x64'; try 16x64"),
        ("64x64x80", r"4k \+ 1 frames, got '64x64x80'; try 64x64x81"),
        ("64x64x0", r"4k \+ 1 frames, got '64x64x0'; try 64x64x1"),
        ("999999x16", "got '999999x16'"),
    ],
)
def test_what_is_no_profile(text, said):
    with pytest.raises(ConfigError, match=said):
        read_profiles([text])


def test_two_numbers_of_frames_are_two_bundles():
    with pytest.raises(ConfigError, match="got 33 and 81; build a bundle for each"):
        read_profiles(["live33", "1280x720x81"])
