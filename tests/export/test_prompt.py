"""The prompt: cleaned, encoded by Wan's text encoder under its own names, stored and read again."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the definition is written in torch: pip install '.[train]'")
safetensors = pytest.importorskip("safetensors.torch", reason="weights are safetensors: pip install '.[cuda]'")

from clear_rt.errors import WeightsError  # noqa: E402
from clear_rt.export.prompt import (  # noqa: E402
    MAX_TOKENS,
    P_SCRIPT,
    P_TRAIN,
    PRESETS,
    cleaned,
    prompt_for,
    read_prompt,
    write_prompt,
)
from clear_rt.models.config_json import as_json  # noqa: E402
from clear_rt.models.dit_config import DitConfig  # noqa: E402
from clear_rt.models.vae_config import VaeConfig  # noqa: E402
from clear_rt.models.weights_folder import find_weights  # noqa: E402
from tests.signature import signature  # noqa: E402

WIDTH = 24


@pytest.fixture(scope="module")
def umt5():
    pytest.importorskip("transformers", reason="the text encoder runs in transformers: pip install '.[export]'")
    from clear_rt.export import umt5

    return umt5


@pytest.fixture(scope="module")
def config(umt5):
    return umt5.UMT5Config(vocab_size=300, d_model=WIDTH, d_kv=7, d_ff=40, num_layers=3, num_heads=4, dropout_rate=0.0)


@pytest.fixture(scope="module")
def encoder(umt5, config):
    """A tiny encoder of random weights; norms, too."""
    torch.manual_seed(0)
    model = umt5.UMT5EncoderModel(config).eval().requires_grad_(False)
    for name, parameter in model.named_parameters():
        if "layer_norm" in name:
            parameter.uniform_(0.5, 1.5)
        else:
            parameter.normal_(0, 1 if "shared" in name else 0.3)
    return model


@pytest.fixture(scope="module")
def folder(umt5, encoder, tmp_path_factory):
    """A Wan folder: the encoder under Wan's names, a tokenizer of single letters, a config of our own."""
    home = tmp_path_factory.mktemp("wan")
    names, state = umt5.wan_names(encoder), encoder.state_dict()
    torch.save({wan: state[ours] for ours, wan in names.items()}, home / "models_t5_umt5-xxl-enc-bf16.pth")
    letters(home / "google/umt5-xxl")
    for name in ("diffusion_pytorch_model.safetensors", "vae.safetensors"):
        (home / name).write_bytes(b"")
    sizes = DitConfig(width=24, heads=2, layers=1, ffn_width=8, text_width=WIDTH)
    (home / "config.json").write_text(json.dumps({"dit": as_json(sizes), "vae": as_json(VaeConfig())}))
    return home


def letters(home):
    """Every letter a token, and </s> at the end, as umt5-xxl adds it."""
    tokenizers = pytest.importorskip("tokenizers", reason="comes with transformers")
    transformers = pytest.importorskip("transformers")
    vocabulary = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", -9.0), *((chr(c), -1.0) for c in range(32, 127))]
    made = tokenizers.Tokenizer(tokenizers.models.Unigram(vocabulary, unk_id=2, byte_fallback=False))
    made.post_processor = tokenizers.processors.TemplateProcessing("$A </s>", special_tokens=[("</s>", 1)])
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    fast.save_pretrained(home)


def as_wan_does(encoder, text, tokens=MAX_TOKENS):
    """Padded to 512, padding hidden from the encoder, only the real rows kept."""
    ids = [*(ord(c) - 32 + 3 for c in text[: tokens - 1]), 1]
    padded = torch.tensor([ids + [0] * (tokens - len(ids))])
    mask = torch.arange(tokens)[None] < len(ids)
    return encoder(input_ids=padded, attention_mask=mask).last_hidden_state[0, : len(ids)]


def test_the_real_encoder_has_242_tensors_of_known_shapes(umt5):
    """Hashes to what DiffSynth-Studio knows the real file by (reference.md section 0)."""
    with torch.device("meta"):
        model = umt5.UMT5EncoderModel(umt5.xxl_config())
    names, state = umt5.wan_names(model), model.state_dict()
    shapes = {wan: tuple(state[ours].shape) for ours, wan in names.items()}
    assert len(shapes) == 242
    assert signature(shapes) == "9c8818c2cbea55eca56c7b447df170da"
    assert sum(parameter.numel() for parameter in model.parameters()) == 5_680_910_336


@pytest.mark.parametrize("text", ["a", "Please remove the text.", "x" * 600], ids=["short", "usual", "cut at 512"])
def test_embedding_is_what_wan_computes_with_padding(umt5, encoder, config, folder, text):
    found = umt5.embedded(text, folder / "models_t5_umt5-xxl-enc-bf16.pth", folder / "google/umt5-xxl", config)
    expected = as_wan_does(encoder, text)
    assert found.shape == expected.shape == (min(len(text) + 1, MAX_TOKENS), WIDTH)
    assert ((found - expected).square().mean() / expected.square().mean()).sqrt() < 1e-6


def by_hand(state, ids):
    """UMT5 from its description under Wan's names (reference.md 4): pre-norm, no attention scale, bias per layer."""
    heads, x = 4, state["token_embedding.weight"][ids]

    def normed(x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * state[f"{name}.weight"]

    far = torch.arange(len(ids))[None] - torch.arange(len(ids))[:, None]
    bucket = torch.where(far.abs() < 8, far.abs(), (8 + (far.abs() / 8).clamp(min=1).log() / 2.772588722 * 8).long())
    bucket = bucket.clamp(max=15) + 16 * (far > 0)
    for i in range(3):
        p = f"blocks.{i}."
        u = normed(x, f"{p}norm1")
        q, k, v = ((u @ state[f"{p}attn.{n}.weight"].T).unflatten(-1, (heads, -1)) for n in "qkv")
        logits = torch.einsum("nhd,mhd->hnm", q, k) + state[f"{p}pos_embedding.embedding.weight"][bucket].permute(
            2, 0, 1
        )
        x = x + torch.einsum("hnm,mhd->nhd", logits.softmax(-1), v).flatten(1) @ state[f"{p}attn.o.weight"].T
        u = normed(x, f"{p}norm2")
        gate = torch.nn.functional.gelu(u @ state[f"{p}ffn.gate.0.weight"].T, approximate="tanh")
        x = x + (gate * (u @ state[f"{p}ffn.fc1.weight"].T)) @ state[f"{p}ffn.fc2.weight"].T
    return normed(x, "norm")


def test_names_of_wan_mean_what_wan_means(umt5, config, folder):
    """Gate and fc1 have one shape, as have q, k, v: only the numbers tell a wrong map."""
    state = torch.load(folder / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True)
    text = "Remove the text overlays and subtitles."
    ids = torch.tensor([ord(c) - 32 + 3 for c in text] + [1])
    expected = by_hand({name: tensor.double() for name, tensor in state.items()}, ids)
    found = umt5.embedded(text, folder / "models_t5_umt5-xxl-enc-bf16.pth", folder / "google/umt5-xxl", config)
    assert ((found - expected).square().mean() / expected.square().mean()).sqrt() < 1e-5


def test_an_encoder_that_does_not_fit_is_refused(umt5, config, folder, tmp_path):
    state = torch.load(folder / "models_t5_umt5-xxl-enc-bf16.pth", weights_only=True)
    del state["blocks.1.ffn.gate.0.weight"]
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"1 missing \(blocks.1.ffn.gate.0.weight\)"):
        umt5.load_encoder(tmp_path / "x.pth", config)
    with pytest.raises(WeightsError, match="expected the tokenizer"):
        umt5.embedded("x", folder / "models_t5_umt5-xxl-enc-bf16.pth", tmp_path, config)


def test_the_encoder_is_not_copied_and_keeps_its_type(umt5, encoder, config, tmp_path):
    names, state = umt5.wan_names(encoder), encoder.state_dict()
    torch.save({wan: state[ours].bfloat16() for ours, wan in names.items()}, tmp_path / "x.pth")
    model = umt5.load_encoder(tmp_path / "x.pth", config)
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    assert model.shared.weight.data_ptr() == model.encoder.embed_tokens.weight.data_ptr()
    assert "x.pth" in Path("/proc/self/maps").read_text()


def test_prompts_are_the_strings_of_clear():
    assert len(P_TRAIN) == 159
    assert P_TRAIN.endswith("color style. Do not add any new elements.")
    assert len(P_SCRIPT) == 155
    assert cleaned(P_TRAIN) == P_TRAIN
    assert cleaned(P_SCRIPT) == P_SCRIPT


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("  a\t b\n\nc ", "a b c"),
        ("a &amp;amp; b", "a & b"),
        ("&amp;lt;b&amp;gt;", "<b>"),
        ("&nbsp;x&nbsp;", "x"),
        ("", ""),
    ],
)
def test_prompts_are_cleaned_as_wan_cleans_them(text, expected):
    assert cleaned(text) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_prompt_survives_its_file(tmp_path, dtype):
    embedding = torch.randn(7, WIDTH).to(dtype)
    write_prompt(tmp_path / "prompt.safetensors", P_SCRIPT, embedding)
    found = read_prompt(tmp_path / "prompt.safetensors")
    assert found.text == P_SCRIPT
    assert found.embedding.dtype == dtype
    assert torch.equal(found.embedding, embedding)
    assert [path.name for path in tmp_path.iterdir()] == ["prompt.safetensors"]


@pytest.mark.parametrize(
    ("embedding", "named"),
    [
        (torch.zeros(3, 4, dtype=torch.float64), "float64"),
        (torch.zeros(3), r"\[3\]"),
        (torch.zeros(0, 4), r"\[0, 4\]"),
        (torch.full((3, 4), torch.nan), "finite"),
        (torch.zeros(513, 4), "513"),
    ],
)
def test_an_embedding_that_is_none_is_neither_written_nor_read(tmp_path, embedding, named):
    with pytest.raises(WeightsError, match=named):
        write_prompt(tmp_path / "x.safetensors", "x", embedding)
    assert not list(tmp_path.iterdir())
    safetensors.save_file({"embedding": embedding}, tmp_path / "x.safetensors", metadata={"text": "x"})
    with pytest.raises(WeightsError, match=named):
        read_prompt(tmp_path / "x.safetensors")


def test_files_that_hold_no_prompt_are_refused(tmp_path):
    path = tmp_path / "x.safetensors"
    with pytest.raises(WeightsError, match="expected a prompt"):
        read_prompt(path)
    path.write_bytes(b"no prompt")
    with pytest.raises(WeightsError, match="expected a prompt"):
        read_prompt(path)
    safetensors.save_file({"embedding": torch.zeros(2, 3)}, path)
    with pytest.raises(WeightsError, match="without text"):
        read_prompt(path)
    safetensors.save_file({"a": torch.zeros(2, 3)}, path, metadata={"text": "x"})
    with pytest.raises(WeightsError, match="found a"):
        read_prompt(path)


def test_the_prompt_of_a_folder_is_read_or_made(umt5, config, encoder, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(umt5, "xxl_config", lambda: config)
    made = prompt_for(find_weights(folder))
    assert made.text == P_TRAIN
    assert made.embedding.shape == (len(P_TRAIN) + 1, WIDTH)
    stored = folder / "prompt.safetensors"
    try:
        write_prompt(stored, P_SCRIPT, torch.ones(3, WIDTH))
        assert torch.equal(prompt_for(find_weights(folder)).embedding, torch.ones(3, WIDTH))
        assert torch.equal(prompt_for(find_weights(folder), P_SCRIPT).embedding, torch.ones(3, WIDTH))
        assert torch.equal(prompt_for(find_weights(folder), P_TRAIN).embedding, made.embedding)
        write_prompt(stored, P_SCRIPT, torch.ones(3, WIDTH + 1))
        with pytest.raises(WeightsError, match=f"{WIDTH} wide, found {WIDTH + 1}"):
            prompt_for(find_weights(folder))
    finally:
        stored.unlink()


def test_a_preset_is_its_text(umt5, config, folder, monkeypatch):
    monkeypatch.setattr(umt5, "xxl_config", lambda: config)
    assert PRESETS == {"train": P_TRAIN, "script": P_SCRIPT}
    for name, text in PRESETS.items():
        named, written = prompt_for(find_weights(folder), name), prompt_for(find_weights(folder), text)
        assert named.text == written.text == text
        assert torch.equal(named.embedding, written.embedding)
    assert prompt_for(find_weights(folder), "trains").text == "trains"


def bare(tmp_path):
    """A folder with neither prompt nor encoder."""
    for name in ("diffusion_pytorch_model.safetensors", "vae.safetensors"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def test_a_ready_file_needs_nothing_of_the_folder(tmp_path):
    """A prompt.safetensors that is damaged and an encoder that is none are not even opened."""
    file = tmp_path / "elsewhere" / "mine.safetensors"
    file.parent.mkdir()
    write_prompt(file, P_SCRIPT, torch.full((3, 4096), 2.0))
    (bare(tmp_path) / "models_t5_umt5-xxl-enc-bf16.pth").write_bytes(b"no encoder")
    (tmp_path / "google/umt5-xxl").mkdir(parents=True)
    (tmp_path / "prompt.safetensors").write_bytes(b"no prompt")
    for text in (None, "script", P_SCRIPT):
        found = prompt_for(find_weights(tmp_path), text, file)
        assert found.text == P_SCRIPT
        assert torch.equal(found.embedding, torch.full((3, 4096), 2.0))


def test_a_ready_file_that_does_not_fit_is_refused(tmp_path):
    file, found = tmp_path / "mine.safetensors", find_weights(bare(tmp_path))
    with pytest.raises(WeightsError, match=r"mine\.safetensors: expected a prompt"):
        prompt_for(found, file=file)
    write_prompt(file, P_SCRIPT, torch.ones(3, 4096))
    with pytest.raises(WeightsError, match=r"mine\.safetensors: expected the prompt 'Please remove"):
        prompt_for(found, "train", file)
    write_prompt(file, P_SCRIPT, torch.ones(3, 5))
    with pytest.raises(WeightsError, match=r"4096 wide, found 5 in .*mine\.safetensors"):
        prompt_for(found, file=file)


def test_a_folder_without_prompt_and_encoder_is_told_what_to_add(tmp_path):
    for name in ("diffusion_pytorch_model.safetensors", "vae.safetensors"):
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(WeightsError, match=r"expected prompt.safetensors .* found none"):
        prompt_for(find_weights(tmp_path))
    write_prompt(tmp_path / "prompt.safetensors", P_SCRIPT, torch.ones(3, 4096))
    assert prompt_for(find_weights(tmp_path)).text == P_SCRIPT
    with pytest.raises(WeightsError, match=r"found prompt.safetensors for 'Remove the text"):
        prompt_for(find_weights(tmp_path), "another")


def test_reading_a_prompt_needs_no_transformers(monkeypatch, tmp_path):
    """And encoding one without it is one sentence."""
    monkeypatch.setitem(sys.modules, "clear_rt.export.umt5", None)
    for name in ("diffusion_pytorch_model.safetensors", "vae.safetensors", "models_t5_umt5-xxl-enc-bf16.pth"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "google/umt5-xxl").mkdir(parents=True)
    with pytest.raises(WeightsError, match="expected transformers to be installed"):
        prompt_for(find_weights(tmp_path))
    write_prompt(tmp_path / "prompt.safetensors", P_SCRIPT, torch.ones(3, 4096))
    assert prompt_for(find_weights(tmp_path)).text == P_SCRIPT
