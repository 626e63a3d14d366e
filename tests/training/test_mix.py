"""The training mix: its shares, its seeds, and that another one is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

pytest.importorskip("PIL", reason="captions are drawn with Pillow: pip install '.[train]'")

from clear_rt.burn.fonts import installed_faces
from clear_rt.burn.scripts import SCRIPTS, VERTICAL
from clear_rt.errors import ConfigError
from training.mix import MIX, MixConfig, check_same_mix, random_recipe, random_short_side_px

needs_fonts = pytest.mark.skipif(
    not all(installed_faces(name) for name in SCRIPTS), reason="fonts of the [eval] extra are missing"
)


def recipes(count=600, portrait=False, **mix):
    return [random_recipe(np.random.default_rng([3, n]), MixConfig(**mix), portrait=portrait) for n in range(count)]


def share(found):
    return np.mean([bool(one) for one in found])


@needs_fonts
def test_shares_are_those_of_the_config():
    drawn = recipes()
    assert drawn == recipes()
    # Four standard deviations of a binomial of 600 are 0.08 at most.
    assert abs(share(r.negatives or r.scene_texts for r in drawn) - 0.35) < 0.08
    assert abs(share(r.scene_texts for r in drawn) - 0.35 * 0.45) < 0.08
    assert {name for r in drawn for name in r.negatives} == {"logo", "ticker", "credits", "sign"}
    assert {r.damage.codec for r in drawn} == {"h264", "hevc", "mpeg2", "mpeg4"}
    assert {r.timing for r in drawn} == {"film", "gaps", "back-to-back", "short", "long"}
    assert all(len(set(r.negatives)) == len(r.negatives) for r in drawn)
    assert all(set(r.scripts) <= set(VERTICAL) for r in drawn if r.look.vertical)
    assert any(len(r.scripts) == 2 for r in drawn if r.look.second_size > 0)
    assert set(SCRIPTS) <= {name for r in drawn for name in r.scripts}
    assert len({r.seed for r in drawn}) == len(drawn)


@needs_fonts
def test_nothing_of_what_has_no_share():
    drawn = recipes(60, negative_share=0.0, hard_share=0.0, removes="all", harshest=0.0)
    assert not any(r.negatives or r.scene_texts for r in drawn)
    assert {r.look.motion.kind for r in drawn} == {"still"}
    assert {r.removes for r in drawn} == {"all"}
    assert max(r.damage.rate for r in drawn if r.damage.codec == "h264") == 14


@needs_fonts
def test_portraits_have_smaller_letters():
    upright, wide = recipes(40, portrait=True), recipes(40)
    for one, other in zip(upright, wide, strict=True):
        assert one.look.style.size_share == pytest.approx(0.65 * other.look.style.size_share)


@pytest.mark.parametrize("wrong", [{"version": 1}, {"removes": "logos"}, {"text_share": 1.5}, {"harshest": -0.1}])
def test_what_is_no_mix_is_one_sentence(wrong):
    with pytest.raises(ConfigError) as caught:
        MixConfig(**wrong)
    assert len(str(caught.value).splitlines()) == 1


def test_a_folder_keeps_its_mix(tmp_path):
    folder = tmp_path / "run" / "pairs"
    check_same_mix(folder, MixConfig())
    check_same_mix(folder, MixConfig())
    assert json.loads((folder / "mix.json").read_text())["version"] == MIX
    asked = MixConfig(removes="all", text_share=0.5)
    with pytest.raises(ConfigError, match=r"with removes subtitles, text_share 0\.85, now asked for removes all, text"):
        check_same_mix(folder, asked)
    assert [path.name for path in folder.iterdir()] == ["mix.json"]


def test_shards_without_a_mix_are_of_the_first(tmp_path):
    (tmp_path / "shard-003.npy").write_bytes(b"")
    with pytest.raises(ConfigError, match="version 1, now asked for version 3"):
        check_same_mix(tmp_path, MixConfig())


def test_half_of_the_clips_are_shown_larger():
    rng, mix = np.random.default_rng(0), MixConfig()
    sides = np.array([random_short_side_px(rng, mix) for _ in range(2000)])
    assert 0.45 < (sides > 360).mean() < 0.55
    assert (sides.min(), sides.max()) == (360, 720)
    assert {random_short_side_px(rng, MixConfig(fine_share=0.0)) for _ in range(100)} == {360}
