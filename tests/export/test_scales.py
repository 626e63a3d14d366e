"""Scales as a file: written the same twice, read strictly, and never those of another model."""

from __future__ import annotations

import json
import math

import pytest

from clear_rt.errors import ConfigError, OutputError
from clear_rt.export.scales import Scales, read_scales, write_scales

NAMES = [f"blocks.{i}.{kind}" for i in range(11) for kind in ("ffn.0", "ffn.2")]
FOUND = {name: 1.5 + 0.1 * i for i, name in enumerate(NAMES)}


def written(tmp_path, document) -> object:
    path = tmp_path / "scales.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def test_what_was_written_is_read(tmp_path):
    write_scales(Scales(FOUND), tmp_path / "scales.json")
    assert read_scales(tmp_path / "scales.json", NAMES) == Scales(FOUND)
    assert [path.name for path in tmp_path.iterdir()] == ["scales.json"]


def test_every_float_survives(tmp_path):
    awkward = dict(zip(NAMES, (1e-30, 0.1, 1 / 3, 3.4028234663852886e38, 2.0**-126), strict=False))
    write_scales(Scales(awkward), tmp_path / "scales.json")
    assert read_scales(tmp_path / "scales.json", awkward).input_amax == awkward


def test_the_order_in_which_they_came_is_not_in_the_file(tmp_path):
    turned = Scales(dict(reversed(FOUND.items())))
    for scales, name in ((Scales(FOUND), "one"), (turned, "two")):
        write_scales(scales, tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_a_number_that_scales_nothing_is_refused(value):
    with pytest.raises(ConfigError, match=r"positive finite largest input of blocks\.0\.ffn\.2"):
        Scales(FOUND | {NAMES[1]: value})


BAD = {
    "nothing": ("", "expected JSON, found none"),
    "half a file": (Scales(FOUND).text()[:-40], "expected JSON, found none"),
    "not JSON": ("scales", "expected JSON, found none"),
    "nested too deeply": ("[" * 100_000, "expected JSON, found none"),
    "a list": ([FOUND], "an object of format and input_amax alone"),
    "no format": ({"input_amax": FOUND}, "an object of format and input_amax alone"),
    "something else": ({"format": 1, "input_amax": FOUND, "x": 1}, "an object of format and input_amax alone"),
    "a later format": ({"format": 2, "input_amax": FOUND}, "expected format 1, found 2"),
    "a format that is true": ({"format": True, "input_amax": FOUND}, "expected format 1, found True"),
    "a list of numbers": ({"format": 1, "input_amax": [1.0]}, "to be an object, found list"),
    "zero": ({"format": 1, "input_amax": FOUND | {NAMES[2]: 0}}, "positive finite number for blocks.1.ffn.0, found 0"),
    "negative": ({"format": 1, "input_amax": FOUND | {NAMES[2]: -1}}, "found -1"),
    "NaN": ({"format": 1, "input_amax": FOUND | {NAMES[2]: math.nan}}, "found nan"),
    "infinity": ({"format": 1, "input_amax": FOUND | {NAMES[2]: math.inf}}, "found inf"),
    "beyond a float": ('{"format": 1, "input_amax": {"blocks.0.ffn.0": 1' + "0" * 400 + "}}", "positive finite number"),
    "beyond float32": ({"format": 1, "input_amax": FOUND | {NAMES[2]: 3.5e38}}, "found 3.5e+38"),
    "below float32": ({"format": 1, "input_amax": FOUND | {NAMES[2]: 1e-40}}, "found 1e-40"),
    "text": ({"format": 1, "input_amax": FOUND | {NAMES[2]: "1"}}, "found '1'"),
    "true": ({"format": 1, "input_amax": FOUND | {NAMES[2]: True}}, "found True"),
    "another model": ({"format": 1, "input_amax": {"transformer.a": 1.0}}, "the 22 linears of this model, found 0 of"),
    "none": ({"format": 1, "input_amax": {}}, "the 22 linears of this model, found 0 of them and 0 others"),
    "one missing": ({"format": 1, "input_amax": dict(list(FOUND.items())[1:])}, "found 21 of them and 0 others"),
    "a deeper model": ({"format": 1, "input_amax": FOUND | {"blocks.11.ffn.0": 1}}, "22 of them and 1 others"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_end_in_one_sentence(case, tmp_path):
    document, reason = BAD[case]
    path = written(tmp_path, document)
    with pytest.raises(ConfigError) as caught:
        read_scales(path, NAMES)
    said = str(caught.value)
    assert reason in said
    assert said.startswith(f"--scales {path}")
    assert len(said.splitlines()) == 1
    assert len(said) < 400 + len(str(path))


def test_bytes_that_are_no_text_are_refused(tmp_path):
    path = tmp_path / "scales.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="expected JSON, found none"):
        read_scales(path, NAMES)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.json", tmp_path):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_scales(path, NAMES)


def test_a_model_with_names_that_are_missing_is_never_quantised_in_part():
    with pytest.raises(
        ConfigError, match=r"expected scales of 2 linears, found 1 of them and none of blocks\.99\.ffn\.0"
    ):
        Scales(FOUND).of([NAMES[0], "blocks.99.ffn.0"])


def test_a_failed_write_leaves_what_was_there(tmp_path):
    with pytest.raises(OutputError, match="could not be written"):
        write_scales(Scales(FOUND), tmp_path / "no folder" / "scales.json")
    (tmp_path / "scales.json").mkdir()
    with pytest.raises(OutputError, match="could not be written"):
        write_scales(Scales(FOUND), tmp_path / "scales.json")
    assert [path.name for path in tmp_path.iterdir()] == ["scales.json"]
