"""Files of weights: names and shapes at once, values later; damaged, hostile and doubled files one sentence each."""

from __future__ import annotations

import random

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import ExitStatus, WeightsError  # noqa: E402
from clear_rt.models.checkpoint import open_checkpoint  # noqa: E402


@pytest.fixture(scope="module")
def state():
    torch.manual_seed(0)
    return {f"blocks.{i}.weight": torch.randn(5 + i, 7) for i in range(9)}


def written(path, state):
    safetensors.save_file(state, path)
    return path


def one_sentence(caught, *parts):
    text = str(caught.value)
    assert caught.value.status == ExitStatus.WEIGHTS == 7
    assert len(text) < 900
    assert "\n" not in text
    for part in parts:
        assert part in text, text


def test_a_checkpoint_is_opened_without_reading_it(tmp_path):
    """4 GB by shape, one value on disk: knowing names and shapes must not touch values."""
    torch.save({"a": torch.zeros(1).expand(1000, 1000, 1000), "b": torch.ones(3)}, tmp_path / "x.pt")
    checkpoint = open_checkpoint(tmp_path / "x.pt")
    assert checkpoint.shapes == {"a": (1000, 1000, 1000), "b": (3,)}
    assert len(checkpoint) == 2
    assert "c" not in checkpoint
    with pytest.raises(KeyError):
        checkpoint["c"]
    assert torch.equal(checkpoint["b"], torch.ones(3))


def test_shards_that_say_a_tensor_twice_are_refused(state, tmp_path):
    one, two = (written(tmp_path / f"{i}.safetensors", state) for i in range(2))
    with pytest.raises(WeightsError) as caught:
        open_checkpoint([one, two])
    one_sentence(caught, "twice")
    wrapped = written(tmp_path / "w.safetensors", {"module.a": torch.zeros(1), "a": torch.zeros(1)})
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(wrapped)
    one_sentence(caught, "a is there twice")


class Evil:
    def __reduce__(self):
        return print, ("ran",)


def test_files_that_are_no_weights(state, tmp_path, capsys):
    whole = written(tmp_path / "whole.safetensors", state).read_bytes()
    torch.save({"model_state_dict": Evil()}, tmp_path / "evil.pt")
    torch.save({"model_state_dict": {"a": 1.0}}, tmp_path / "empty.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    (tmp_path / "cut.safetensors").write_bytes(whole[:-3])
    (tmp_path / "none.safetensors").write_bytes(b"")
    (tmp_path / "lfs.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n")
    (tmp_path / "zip.pth").write_bytes((tmp_path / "evil.pt").read_bytes()[:300])
    (tmp_path / "dir.safetensors").mkdir()
    (tmp_path / "weights.bin").write_bytes(whole)
    expected = {
        "evil.pt": "no plain tensor", "empty.pt": "no tensor", "list.pt": "no tensor", "cut.safetensors": "fetch",
        "none.safetensors": "found 0 bytes", "lfs.safetensors": "bytes", "zip.pth": "fetch", "dir.safetensors": "none",
        "weights.bin": "ends in .safetensors, .pt, .pth", "absent.pt": "found none",
    }  # fmt: skip
    for name, part in expected.items():
        with pytest.raises(WeightsError) as caught:
            open_checkpoint(tmp_path / name)
        one_sentence(caught, name, part)
    assert "ran" not in capsys.readouterr().out
    with pytest.raises(WeightsError, match="at least one"):
        open_checkpoint([])


def test_random_damage_is_one_sentence_or_weights(state, tmp_path):
    """Bits flipped where names, shapes and pickles stand, and cuts anywhere."""
    few = dict(list(state.items())[:5])
    torch.save(few, tmp_path / "x.pt")
    written(tmp_path / "x.safetensors", few)
    rng, said = random.Random(0), []
    for suffix in (".pt", ".safetensors"):
        whole = (tmp_path / f"x{suffix}").read_bytes()
        for i in range(80):
            broken = bytearray(whole)
            for _ in range(4):
                broken[rng.randrange(min(len(whole), 1500)) - rng.randrange(2) * 800] = rng.randrange(256)
            path = tmp_path / f"broken{i}{suffix}"
            path.write_bytes(broken[: rng.randrange(len(whole))] if i % 3 == 0 else broken)
            try:
                checkpoint = open_checkpoint(path)
                for name in checkpoint:
                    assert checkpoint[name].shape == checkpoint.shapes[name]
            except WeightsError as error:
                said.append(str(error))
    assert len(said) > 80
    assert not [text for text in said if "\n" in text or len(text) > 600]


@pytest.mark.parametrize(
    "odd", [torch.zeros(64, dtype=torch.int8), torch.zeros(64).to_sparse()], ids=["int8", "sparse"]
)
def test_quantized_and_sparse_weights_are_refused(state, tmp_path, odd):
    torch.save(state | {"head.head.bias": odd}, tmp_path / "x.pt")
    with pytest.raises(WeightsError) as caught:
        open_checkpoint(tmp_path / "x.pt")["head.head.bias"]
    one_sentence(caught, "head.head.bias", str(odd.dtype), str(odd.layout))
