"""Which files belong together, what has no partner, and means over pairs."""

import pytest

from clear_rt.errors import ConfigError, InputError
from clear_rt.metrics.mean import mean_of
from clear_rt.metrics.pairs import are_folders, pairs_of


@pytest.fixture
def folders(tmp_path):
    """Function (names by role) -> folders of empty files."""

    def make(**names):
        for role, files in names.items():
            for name in files:
                path = tmp_path / role / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
        return {role: tmp_path / role for role in names}

    return make


def told(pairs):
    return {
        str(pair.place): pair.failure or {role: path.name for role, path in pair.videos.paths.items()} for pair in pairs
    }


def test_equal_names_and_equal_stems_are_pairs(folders):
    places = folders(result=["a.mp4", "b.mkv", "notes.txt"], clean=["a.mp4", "b.MOV"], mask=["a.mkv", "b.mkv"])
    assert told(pairs_of(places, recursive=False)) == {
        "a.mp4": {"result": "a.mp4", "clean": "a.mp4", "mask": "a.mkv"},
        "b.mkv": {"result": "b.mkv", "clean": "b.MOV", "mask": "b.mkv"},
    }


def test_the_same_name_goes_before_the_same_stem(folders):
    places = folders(result=["a.mkv", "a.mp4", "a.mov"], source=["a.mp4", "a.mkv"])
    found = told(pairs_of(places, recursive=False))
    assert found["a.mkv"]["source"] == "a.mkv"
    assert found["a.mp4"]["source"] == "a.mp4"
    assert found["a.mov"].startswith("expected one source video for")
    assert "found 2 (a.mkv, a.mp4)" in found["a.mov"]


def test_what_has_no_partner_is_said(folders):
    places = folders(result=["a.mp4", "b.mp4"], clean=["a.mp4", "c.mp4"], source=["a.mp4", "b.mp4", "c.avi"])
    found = told(pairs_of(places, recursive=False))
    assert list(found) == ["a.mp4", "b.mp4", "c"]
    assert found["b.mp4"] == (
        f"expected one clean video for {places['result'] / 'b.mp4'} in {places['clean']}, found none; "
        "give it the name b.mp4"
    )
    assert found["c"].startswith(f"clean {places['clean'] / 'c.mp4'} has no result of that name in {places['result']}")


def test_folders_below_are_looked_into_when_asked(folders):
    places = folders(result=["x/a.mp4", "y/a.mp4", "a.b.mp4"], clean=["x/a.mp4", "y/a.mkv", "a.b.mp4"])
    assert list(told(pairs_of(places, recursive=False))) == ["a.b.mp4"]
    found = told(pairs_of(places, recursive=True))
    assert found == {
        "a.b.mp4": {"result": "a.b.mp4", "clean": "a.b.mp4"},
        "x/a.mp4": {"result": "a.mp4", "clean": "a.mp4"},
        "y/a.mp4": {"result": "a.mp4", "clean": "a.mkv"},
    }


def test_a_folder_without_videos_is_named(folders):
    places = folders(result=["a.mp4"], clean=["a.txt"])
    with pytest.raises(InputError, match=r"clean: expected videos in .*clean, found none"):
        pairs_of(places, recursive=False)


def test_files_and_folders_are_not_mixed(folders):
    places = folders(result=["a.mp4"], clean=["a.mp4"])
    assert are_folders(places)
    assert not are_folders({role: folder / "a.mp4" for role, folder in places.items()})
    with pytest.raises(ConfigError, match=r"folder .*result as result and .*a\.mp4 as clean; give either"):
        are_folders({"result": places["result"], "clean": places["clean"] / "a.mp4"})


def test_means_skip_what_is_missing_and_cap_what_is_infinite():
    found = mean_of(
        [
            {
                "frames": 3,
                "vfid": 2.0,
                "mask": "given",
                "result": {"psnr": {"frame_db": "inf"}, "ssim": 0.5},
                "clean": None,
            },
            {
                "frames": 9,
                "vfid": 4.0,
                "mask": "given",
                "result": {"psnr": {"frame_db": 20.0}, "ssim": None},
                "clean": None,
            },
        ]
    )
    assert found == {"result": {"psnr": {"frame_db": 60.0}, "ssim": 0.5}, "clean": None}
    assert mean_of([]) == {}
