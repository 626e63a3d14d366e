"""Fetching from a hub on this machine: which files, that they are what was announced, and every refusal."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

constants = pytest.importorskip("huggingface_hub.constants", reason="the hub's client: pip install '.[export]'")

from huggingface_hub import close_session, hf_hub_download  # noqa: E402

from clear_rt.errors import ConfigError, OutputError, WeightsError  # noqa: E402
from clear_rt.export.fetch import check_space, fetch, plan  # noqa: E402
from clear_rt.export.fetch_config import WAN, FetchConfig  # noqa: E402
from clear_rt.export.fetch_file import is_same, partial_file  # noqa: E402
from clear_rt.export.fetch_wanted import wanted_adapter, wanted_weights  # noqa: E402
from clear_rt.models.fetched import HubFile, read_record  # noqa: E402
from clear_rt.models.sources import HubId, adapter_source  # noqa: E402
from clear_rt.models.weights_folder import TOKENIZER, find_weights  # noqa: E402
from tests.hub_server import Repository, serving  # noqa: E402

RANDOM = random.Random(1)
MODEL, VAE = "diffusion_pytorch_model.safetensors", "Wan2.1_VAE.pth"
FILES = {MODEL: RANDOM.randbytes(300_000), VAE: RANDOM.randbytes(20_000), "config.json": b'{"_class_name": "W"}'}
ENCODER = {"models_t5_umt5-xxl-enc-bf16.pth": RANDOM.randbytes(9), "google/umt5-xxl/tokenizer.json": b"{}"}
COMMIT = "c" * 40
HUB = HubId("a/b")


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """An empty hub that huggingface_hub takes for its own, as HF_ENDPOINT would tell a new process."""
    with serving() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.url)
        template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
        monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "token"))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
        monkeypatch.delenv("HF_TOKEN", raising=False)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        monkeypatch.setenv("NO_PROXY", "*")
        close_session()
        yield server
        close_session()


def configured(folder, **options):
    return FetchConfig(**({"weights": HUB, "folder": folder} | options))


def fetched(folder, **options):
    fetch(plan(configured(folder, **options)))


def contents(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def one_sentence(caught, *words):
    text = str(caught.value)
    assert "\n" not in text
    assert "http" not in text.lower().replace("http status", "").replace("(http 404)", "")
    assert all(word in text for word in words), text


def test_the_default_is_the_base_model_of_clear_and_no_lora():
    assert str(WAN) == "alibaba-pai/Wan2.1-Fun-V1.1-1.3B-Control"
    assert (FetchConfig().weights, FetchConfig().lora) == (WAN, None)
    with pytest.raises(ConfigError, match="--lora"):
        FetchConfig(lora_file="x.pt")


@pytest.mark.parametrize(
    ("names", "wanted"),
    [
        ([MODEL, VAE, "README.md", "models_clip.pth", "old/" + MODEL], [MODEL, VAE]),
        (["diffusion_pytorch_model-1.safetensors", MODEL + ".index.json", VAE, "vae.safetensors"],
         ["diffusion_pytorch_model-1.safetensors", VAE]),
        (["transformer/" + MODEL, "vae/" + MODEL, VAE, "transformer/config.json", "vae/config.json"],
         ["transformer/" + MODEL, "vae/" + MODEL]),
        ([MODEL, "vae.safetensors", "config.json", "prompt.safetensors", *ENCODER],
         [MODEL, "vae.safetensors", "config.json", "prompt.safetensors"]),
    ],
)  # fmt: skip
def test_only_what_find_weights_reads_is_wanted(tmp_path, names, wanted):
    assert wanted_weights("x", names, False) == wanted
    for name in wanted:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text('{"_class_name": "W"}')
    read = find_weights(tmp_path)
    assert {*read.dit, read.vae} <= {tmp_path / name for name in wanted}


def test_what_is_wanted_but_missing_is_said():
    with pytest.raises(WeightsError, match=r"x: .*Wan2.1_VAE.pth.* found a, b, c, d and 1 more"):
        wanted_weights("x", "abcde", False)
    with pytest.raises(WeightsError, match="no encoder"):
        wanted_weights("x", [MODEL, VAE], True)
    with pytest.raises(WeightsError, match="no tokenizer"):
        wanted_weights("x", [MODEL, VAE, "models_t5_umt5-xxl-enc-bf16.pth", "google/umt5-xxl/a/b"], True)
    assert wanted_adapter("x", ["a.pt", "b.pt"], "b.pt") == "b.pt"
    assert wanted_adapter("x", ["a/b.safetensors", "a/config.json"], None) == "a/b.safetensors"
    with pytest.raises(ConfigError, match=r"a.pt, b.pth; choose by --lora-file"):
        wanted_adapter("x", ["b.pth", "a.pt"], None)
    with pytest.raises(WeightsError, match=r"expected c\.pt"):
        wanted_adapter("x", ["a.pt"], "c.pt")
    with pytest.raises(WeightsError, match="found none"):
        wanted_adapter("x", ["README.md"], None)


def test_a_file_is_compared_by_the_hash_that_is_known(tmp_path):
    """The hashes that `git hash-object` and `sha256sum` say of these five bytes."""
    path = tmp_path / "x"
    path.write_bytes(b"clear")
    assert is_same(path, HubFile("x", 5, None, "9c7d34f7fe67b3653e3ce37598199d6ee9e75b7b"))
    assert is_same(path, HubFile("x", 5, "913a4cb91be20332f3559f8070255d7ac3e6228bb423f4441551d3f783e7d4f4", "0" * 40))
    assert is_same(path, HubFile("x", 5))
    assert not is_same(path, HubFile("x", 6))
    assert not is_same(path, HubFile("x", 5, "0" * 64))
    assert not is_same(path, HubFile("x", 5, None, "0" * 40))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"refused": (404, "RepoNotFound")}, ["expected a repository on the hub"]),
        ({"refused": (401, "")}, ["expected a repository on the hub"]),
        ({"refused": (404, "")}, ["HTTP 404"]),
        ({"refused": (403, "GatedRepo")}, ["gated", "hf auth login"]),
        ({"files_refused": (401, "GatedRepo")}, ["gated", "HF_TOKEN"]),
        ({"files_refused": (403, "GatedRepo")}, ["gated", "accept its terms"]),
        ({"files_refused": (403, "")}, ["gated"]),
        ({"files_refused": (404, "EntryNotFound")}, ["HTTP 404"]),
        ({"refused": (503, "")}, ["503"]),
        ({"files": {"README.md": b"x"}}, ["diffusion_pytorch_model", "README.md"]),
        ({"files": {MODEL: b"x"}}, ["Wan2.1_VAE.pth"]),
        ({"files": FILES | ENCODER | {"google/umt5-xxl/../../../evil": b"x"}}, ["plain names"]),
        ({"files": FILES | {"/etc/evil": b"x"}}, ["plain names"]),
        ({"files": FILES | {"a\nb": b"x"}}, ["plain names"]),
        ({"files": FILES | {"C:\\evil": b"x"}}, ["plain names"]),
        ({"commit": "../.."}, ["commit"]),
    ],
)
def test_a_repository_that_cannot_be_fetched_is_one_sentence(hub, tmp_path, change, words):
    hub.add("a/b", Repository(**({"files": FILES | ENCODER, "commit": COMMIT} | change)))
    with pytest.raises(WeightsError) as caught:
        fetched(tmp_path / "wan", text_encoder=True)
    one_sentence(caught, *words)
    assert not [name for name in contents(tmp_path) if not name.endswith(".partial")]


def test_no_hub_is_one_sentence(hub, tmp_path, monkeypatch):
    with pytest.raises(WeightsError) as caught:
        fetched(tmp_path / "wan", weights=HubId("some/page"))
    one_sentence(caught, "HF_ENDPOINT")
    hub.add("a/b", Repository(FILES))
    with pytest.raises(WeightsError) as caught:
        fetched(tmp_path / "wan", weights=HubId("a/b", "v3"))
    one_sentence(caught, "the revision v3")
    for endpoint in ("http://me:secret@127.0.0.1:9", "ftp://secret.org", "secret", "http://[secret"):
        monkeypatch.setattr(constants, "ENDPOINT", endpoint)
        with pytest.raises(WeightsError) as caught:
            fetched(tmp_path / "wan")
        one_sentence(caught, "HF_ENDPOINT")
        assert "secret" not in str(caught.value)
    assert not (tmp_path / "wan").exists()


def test_a_file_that_is_not_what_was_announced_gets_no_name(hub, tmp_path):
    wrong = Repository(FILES, served={VAE: b"\0" * len(FILES[VAE]), "config.json": b"{" * 20})
    hub.add("a/b", wrong)
    folder = tmp_path / "wan"
    for name, there in ((VAE, {MODEL}), ("config.json", {MODEL, VAE})):
        with pytest.raises(WeightsError) as caught:
            fetched(folder)
        one_sentence(caught, name, "not what the hub announced")
        assert contents(folder) == there
        del wrong.served[name]
    fetched(folder)
    assert contents(folder) == {*FILES, "fetched.json"}
    assert len(hub.fetched(MODEL)) == 1


@pytest.mark.parametrize("sent", ["more", "less"])
def test_an_answer_of_another_length_is_refused(hub, tmp_path, sent):
    served = FILES[VAE] * 2 if sent == "more" else FILES[VAE][:15_000]
    hub.add("a/b", Repository(FILES, served={VAE: served}))
    with pytest.raises(WeightsError) as caught:
        fetched(tmp_path / "wan")
    one_sentence(caught, VAE)
    assert VAE not in contents(tmp_path / "wan")


def test_a_hub_without_ranges_begins_anew(hub, tmp_path):
    hub.add("a/b", Repository(FILES))
    hub.cuts[MODEL], hub.ranges = [200_000], False
    fetched(tmp_path / "wan")
    assert (tmp_path / "wan" / MODEL).read_bytes() == FILES[MODEL]


@pytest.mark.parametrize("kind", ["whole", "too long", "of another file", "of another commit"])
def test_what_lies_there_partly_is_used_or_replaced(hub, tmp_path, kind):
    hub.add("a/b", Repository(FILES, COMMIT))
    folder = tmp_path / "wan"
    folder.mkdir()
    partial = partial_file(folder / MODEL, "d" * 40 if kind == "of another commit" else COMMIT)
    partial.write_bytes({"whole": FILES[MODEL], "too long": FILES[MODEL] + b"x"}.get(kind, b"\0" * 1000))
    if kind == "of another file":
        with pytest.raises(WeightsError, match="fetch it again"):
            fetched(folder)
    fetched(folder)
    assert contents(folder) == {*FILES, "fetched.json"}
    assert (folder / MODEL).read_bytes() == FILES[MODEL]
    assert len(hub.fetched(MODEL)) == {"whole": 0, "of another file": 2}.get(kind, 1)


def test_folders_that_cannot_take_it_are_one_sentence(hub, tmp_path):
    hub.add("a/b", Repository(FILES, COMMIT))
    (tmp_path / "file").touch()
    for folder, words in ((tmp_path / "file", "is a file"), (tmp_path / "file/wan", "could not be written")):
        with pytest.raises(OutputError) as caught:
            fetched(folder)
        one_sentence(caught, words)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("diffusion_pytorch_model-9.safetensors", "vae.safetensors"):
        (foreign / name).touch()
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("mine")
    for folder, words in ((foreign, ["model-9", "no other weights"]), (mine, ["config.json", "there already"])):
        before = contents(folder)
        with pytest.raises(OutputError) as caught:
            fetched(folder)
        one_sentence(caught, *words)
        assert contents(folder) == before
    hub.add("a/big", Repository(FILES, COMMIT, claimed_bytes={MODEL: 10**18}))
    with pytest.raises(OutputError) as caught:
        check_space(plan(configured(tmp_path / "big", weights=HubId("a/big"))))
    one_sentence(caught, "free space", "1,000,000,000,000,020,020")
    fetched(tmp_path / "wan")
    with pytest.raises(OutputError, match=f"a/big@{COMMIT}"):
        fetched(tmp_path / "wan", weights=HubId("a/big"))


def test_what_was_copied_there_before_is_kept(hub, tmp_path):
    hub.add("a/b", Repository(FILES, COMMIT))
    folder = tmp_path / "wan"
    folder.mkdir()
    (folder / MODEL).write_bytes(FILES[MODEL])
    fetched(folder)
    assert contents(folder) == {*FILES, "fetched.json"}
    assert hub.fetched(MODEL) == []


def test_a_damaged_cache_is_not_believed(hub, tmp_path):
    hub.add("a/b", Repository(FILES, COMMIT))
    cached = Path(hf_hub_download("a/b", VAE, cache_dir=tmp_path / "hf")).resolve()
    cached.write_bytes(b"\0" * len(FILES[VAE]))
    fetched(tmp_path / "wan")
    assert (tmp_path / "wan" / VAE).read_bytes() == FILES[VAE]
    assert cached.read_bytes() == b"\0" * len(FILES[VAE])


def test_progress_is_told_by_file(hub, tmp_path):
    hub.add("a/b", Repository(FILES, COMMIT))
    told = []
    fetch(plan(configured(tmp_path / "wan")), lambda *said: told.append(said))
    last = {name: (done, size) for name, done, size in told}
    assert last == {name: (len(content), len(content)) for name, content in FILES.items()}


def test_the_text_encoder_comes_only_when_asked_for(hub, tmp_path):
    hub.add("a/b", Repository(FILES | ENCODER, COMMIT))
    folder = tmp_path / "wan"
    fetched(folder)
    assert contents(folder) == {*FILES, "fetched.json"}
    assert find_weights(folder).text_encoder is None
    fetched(folder, text_encoder=True)
    assert contents(folder) == {*FILES, *ENCODER, "fetched.json"}
    found = find_weights(folder)
    assert (found.text_encoder, found.tokenizer) == (folder / "models_t5_umt5-xxl-enc-bf16.pth", folder / TOKENIZER)
    fetched(folder)
    assert {*read_record(folder).files} == {*FILES, *ENCODER}
    assert len(hub.fetched(MODEL)) == 1


def test_revisions_are_pinned_and_never_mixed(hub, tmp_path):
    newer, other = FILES | {MODEL: RANDOM.randbytes(20_000)}, "d" * 40
    hub.add("a/b", Repository(FILES, COMMIT))
    hub.add("a/b", Repository(newer, other, refs=("v2",)))
    folder = tmp_path / "wan"
    fetched(folder, weights=HubId("a/b", "v2"))
    assert (folder / MODEL).read_bytes() == newer[MODEL]
    assert (read_record(folder).revision, read_record(folder).commit) == ("v2", other)
    assert all(f"/resolve/{other}/" in r.path for r in hub.requests if "/resolve/" in r.path)
    fetched(folder, weights=HubId("a/b", other))
    with pytest.raises(OutputError) as caught:
        fetched(folder)
    one_sentence(caught, COMMIT, other)
    assert (folder / MODEL).read_bytes() == newer[MODEL]


def test_a_lora_has_a_folder_beside_the_model(hub, tmp_path):
    steps = {f"step-{i}.safetensors": RANDOM.randbytes(20_000) for i in (300, 350)}
    hub.add("a/b", Repository(FILES, COMMIT))
    hub.add("me/clear", Repository(steps | {"README.md": b"CLEAR"}, "d" * 40))
    folder = tmp_path / "wan"
    with pytest.raises(ConfigError, match=r"step-300.*--lora-file"):
        fetched(folder, lora=HubId("me/clear"))
    assert not folder.exists()
    fetched(folder, lora=HubId("me/clear"), lora_file="step-350.safetensors")
    assert contents(folder / "lora") == {"step-350.safetensors", "fetched.json"}
    assert adapter_source(str(folder / "lora")).read_bytes() == steps["step-350.safetensors"]
    find_weights(folder)


def test_a_token_goes_to_the_hub_and_not_further(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    hub.add("a/b", Repository(FILES, COMMIT))
    fetched(tmp_path / "wan")
    seen = {(r.path.startswith("/cdn/"), r.authorization) for r in hub.requests}
    assert seen == {(False, "Bearer hf_secret"), (True, None)}


def test_offline_only_what_is_on_disk_counts(hub, tmp_path, monkeypatch):
    hub.add("a/b", Repository(FILES, COMMIT))
    fetched(tmp_path / "wan")
    for name in FILES:
        hf_hub_download("a/b", name, cache_dir=tmp_path / "hf")
    asked = len(hub.requests)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fetched(tmp_path / "wan")
    fetched(tmp_path / "again")
    assert all((tmp_path / "again" / name).read_bytes() == content for name, content in FILES.items())
    with pytest.raises(WeightsError, match="no encoder"):
        fetched(None, text_encoder=True)
    for hub_id in (HubId("a/b", "v2"), HubId("a/d")):
        with pytest.raises(WeightsError) as caught:
            fetched(tmp_path / "wan", weights=hub_id)
        one_sentence(caught, "HF_HUB_OFFLINE")
    assert len(hub.requests) == asked
