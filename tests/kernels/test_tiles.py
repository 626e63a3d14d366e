"""The committed tiles: which a chip takes, and that every one says why."""

import json

import pytest

pytest.importorskip("torch", reason="the kernels need torch: pip install '.[cuda]'")
pytest.importorskip("triton", reason="the kernels need Triton: pip install '.[cuda]'")

from clear_rt.kernels.chips import CAPABILITIES
from clear_rt.kernels.tiles import PATH, Tile, rows, tile, tried


def test_a_chip_takes_the_tile_of_the_newest_one_before_it():
    table = rows("norm_modulate")
    assert tile("norm_modulate", 80) == tile("norm_modulate", 86)
    assert tile("norm_modulate", 80).warps == next(row["warps"] for row in table if row["capability"] == 80)


def test_a_chip_older_than_all_rows_and_traits_of_no_row_are_refused():
    with pytest.raises(LookupError, match=r"no tile for norm_modulate with \{\} on sm_75"):
        tile("norm_modulate", 75)


def test_every_row_says_what_the_choice_rests_on():
    for op, found in json.loads(PATH.read_text()).items():
        for row in found:
            assert row["capability"] in CAPABILITIES, op
            assert row["warps"] in (1, 2, 4, 8, 16), op
            assert row["evidence"], op


def test_a_tile_is_tried_on_every_chip_for_its_traits_alone():
    candidate, committed = Tile({"BLOCK_QUERIES": 64}, 2, 1), tile("occlusion_attention_fp8", 90, width=64)
    with tried("occlusion_attention_fp8", candidate, width=128):
        assert tile("occlusion_attention_fp8", 90, width=128) is candidate
        assert tile("occlusion_attention_fp8", 90, width=64) == committed
    assert tile("occlusion_attention_fp8", 90, width=128) != candidate
