"""Generators in bundles: read field by field, refused with one sentence. The files are fakes that nothing runs."""

from __future__ import annotations

import copy
import hashlib
import json
import shutil
import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clear_rt.bundle import EMBEDDED, GraphSpec, StepTable, open_bundle
from clear_rt.errors import BundleError
from clear_rt.generator import PARTS, ROLES
from clear_rt.inventory import inventory
from clear_rt.schedule import sigmas, timesteps
from clear_rt.shapes import Size

PROMPT = "Please remove the subtitle text from the video while preserving the character appearance."


class Fake:
    """A copy of the embedded bundle with a generator whose manifest and files can be changed."""

    def __init__(self, folder) -> None:
        self.folder = folder
        self.manifest = json.loads((folder / "manifest.json").read_text()) | {"engines": ["onnx", "cuda"]}
        self.manifest.pop("built")
        graphs = {role: self.file(f"{role}.onnx", b"graph of " + role.encode()) | {"data": None} for role in ROLES}
        graphs["step"]["data"] = self.file("step.onnx.data", bytes(range(256)) * 40)
        self.generator = {
            "latent_channels": 16, "latent_px": 8, "latent_frames": 4, "multiple_px": 16, "max_pixels": 230400,
            "profiles": [[640, 144], [144, 640]], "window_latents": 9, "overlap_latents": 2, "latents_fixed": False,
            "draft": False, "shift": 5.0, "default_steps": 2, "timesteps": list(timesteps(4)),
            "steps": {
                "2": {"sigmas": list(sigmas(2)), "rows": [0, 2]},
                "4": {"sigmas": list(sigmas(4)), "rows": [0, 1, 2, 3]},
            },
            "prompt": PROMPT, "precision": "fp32", "parameters": 8_400_000, "graphs": graphs,
            "weights": {part: self.file(f"{part}.safetensors", part.encode() * 1000) for part in PARTS},
            "models": {"dit": {"layers": 8, "deep": [{"x": None}]}, "vae": {}},
        }  # fmt: skip

    def file(self, name: str, data: bytes) -> dict[str, str]:
        (self.folder / name).write_bytes(data)
        return {"file": name, "sha256": hashlib.sha256(data).hexdigest()}

    def open(self):
        text = json.dumps(self.manifest | {"generator": self.generator})
        (self.folder / "manifest.json").write_text(text)
        return open_bundle(self.folder)

    def refusal(self) -> str:
        with pytest.raises(BundleError) as caught:
            self.open()
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)


@pytest.fixture
def fake(tmp_path):
    return Fake(shutil.copytree(EMBEDDED, tmp_path / "bundle"))


def test_a_generator_is_read_whole(fake):
    bundle = fake.open()
    found = bundle.generator
    assert (found.latent_channels, found.latent_px, found.latent_frames) == (16, 8, 4)
    assert (found.multiple_px, found.max_pixels) == (16, 230400)
    assert found.profiles == (Size(640, 144), Size(144, 640))
    assert (found.window_latents, found.overlap_latents, found.latents_fixed) == (9, 2, False)
    assert found.step_tables == {2: StepTable(sigmas(2), (0, 2)), 4: StepTable(sigmas(4), (0, 1, 2, 3))}
    assert (found.default_steps, found.shift, found.prompt, found.precision) == (2, 5.0, PROMPT, "fp32")
    assert found.parameters == 8_400_000
    assert set(found.graphs) == set(ROLES)
    assert found.graphs["control"] == GraphSpec(fake.folder / "control.onnx", b"graph of control", None)
    assert found.graphs["step"].data == fake.folder / "step.onnx.data"
    assert found.weights == {part: fake.folder / f"{part}.safetensors" for part in PARTS}
    assert found.models == fake.generator["models"]
    assert bundle.bytes_total == sum(p.stat().st_size for p in fake.folder.iterdir() if p.name != "manifest.json")
    assert "graph of" not in repr(found)


def test_null_is_a_bundle_with_the_prior_only(fake):
    fake.generator = None
    assert fake.open().generator is None


def test_each_engine_needs_only_its_own_files(fake):
    fake.manifest["engines"] = ["onnx"]
    fake.generator |= {"weights": {}, "models": {}}
    found = fake.open().generator
    assert (found.weights, found.models) == ({}, {})
    assert found.plans is None
    fake.manifest["engines"] = ["trt"]
    fake.generator |= {"graphs": {}}
    with pytest.raises(BundleError, match="lacks 'plans'"):
        fake.open()


def test_integers_are_numbers_and_profiles_may_be_none(fake):
    fake.generator |= {"shift": 5, "profiles": [], "timesteps": [1000, 900, 800, 700], "overlap_latents": 0}
    found = fake.open().generator
    assert (found.shift, found.profiles, found.overlap_latents) == (5.0, (), 0)
    assert type(found.shift) is float


WRONG = [
    ("latent_channels", 0, "integer of 1 to 1024"),
    ("latent_px", 8.0, "integer of 1 to 256"),
    ("latent_frames", True, "integer of 1 to 64"),
    ("multiple_px", 12, "a multiple of 8 up to 256"),
    ("multiple_px", 4, "a multiple of 8"),
    ("multiple_px", 0, "a multiple of 8"),
    ("max_pixels", 255, "integer of 256 to"),
    ("profiles", [[640, 140]], "multiples of 16"),
    ("profiles", [[640, 0]], "multiples of 16"),
    ("profiles", [[640, 144, 16]], "list of"),
    ("profiles", [640, 144], "list of"),
    ("profiles", None, "list of"),
    ("window_latents", 0, "integer of 1 to"),
    ("overlap_latents", 9, "integer of 0 to 8"),
    ("overlap_latents", -1, "integer of 0 to 8"),
    ("latents_fixed", 0, "true or false"),
    ("draft", 1, "true or false"),
    ("shift", 0.0, "number of 0.001"),
    ("shift", float("nan"), "number of 0.001"),
    ("shift", float("inf"), "number of 0.001"),
    ("shift", "5", "number of 0.001"),
    ("shift", True, "number of 0.001"),
    ("shift", 10**400, "number of 0.001"),
    ("default_steps", 3, "one of 2, 4"),
    ("default_steps", "2", "one of 2, 4"),
    ("default_steps", 2.0, "one of 2, 4"),
    ("timesteps", [], "at least one number of 0 to 1000"),
    ("timesteps", [1000, -1], "at least one number of 0 to 1000"),
    ("timesteps", [1000, float("nan")], "at least one number of 0 to 1000"),
    ("steps", [], "a JSON object"),
    ("steps", {"2": [0, 1]}, "a JSON object"),
    ("prompt", "", "one line of text"),
    ("prompt", "two\nlines", "one line of text"),
    ("precision", "fp33", "one of fp32, fp16"),
    ("precision", ["fp32"], "one of fp32, fp16"),
    ("parameters", -1, "integer of 0"),
    ("graphs", None, "a JSON object"),
    ("weights", [], "a JSON object"),
    ("models", {"dit": [], "vae": {}}, "a JSON object"),
]


@pytest.mark.parametrize(("name", "value", "expected"), WRONG, ids=str)
def test_a_field_out_of_range_is_refused(fake, name, value, expected):
    fake.generator[name] = value
    refusal = fake.refusal()
    assert "must be" in refusal
    assert expected in refusal
    assert refusal.endswith("build or fetch the bundle again")


def test_every_field_is_needed(fake):
    whole = fake.generator
    for name in whole:
        fake.generator = {other: value for other, value in whole.items() if other != name}
        assert f"'generator' lacks '{name}'" in fake.refusal()
    del fake.manifest["generator"]
    (fake.folder / "manifest.json").write_text(json.dumps(fake.manifest))
    with pytest.raises(BundleError, match="lacks 'generator'"):
        open_bundle(fake.folder)


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        ([1.0, 0.5], "3 numbers of 0 to 1"),
        ([1.0, 0.5, 0.0, 0.0], "3 numbers of 0 to 1"),
        ([1.1, 0.5, 0.0], "3 numbers of 0 to 1"),
        ([1.0, float("nan"), 0.0], "3 numbers of 0 to 1"),
        ([1.0, 0.5, 0.1], "fall strictly, to 0 at the end"),
        ([1.0, 1.0, 0.0], "fall strictly, to 0 at the end"),
        ([0.5, 1.0, 0.0], "fall strictly, to 0 at the end"),
        ([1.0, 0.0, 0.0], "fall strictly, to 0 at the end"),
    ],
)
def test_noise_levels_that_do_not_fall_are_refused(fake, levels, expected):
    fake.generator["steps"]["2"]["sigmas"] = levels
    refusal = fake.refusal()
    assert "'steps': '2'" in refusal
    assert expected in refusal


@pytest.mark.parametrize("rows", [[0], [0, 1, 2], [0, 4], [-1, 0], [0, 1.0], [0, True], "01"])
def test_rows_that_the_table_lacks_are_refused(fake, rows):
    fake.generator["steps"]["2"]["rows"] = rows
    assert "'steps': '2': 'rows' must be 2 integers of 0 to 3" in fake.refusal()


@pytest.mark.parametrize("name", ["0", "02", "-2", "two", "", "1001", "٢", "2.0", " 2", "9" * 5000])
def test_a_number_of_steps_that_is_none_is_refused(fake, name):
    fake.generator["steps"][name] = fake.generator["steps"]["2"]
    assert "expected numbers of steps of 1 to 1000" in fake.refusal()


def test_no_steps_at_all_are_refused(fake):
    fake.generator["steps"] = {}
    assert "is empty, expected a table" in fake.refusal()


@pytest.mark.parametrize("role", ROLES)
def test_onnx_needs_every_graph(fake, role):
    del fake.generator["graphs"][role]
    assert f"'graphs' lacks '{role}'" in fake.refusal()
    fake.manifest["engines"] = ["cuda"]
    assert role not in fake.open().generator.graphs


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("name", ["weights", "models"])
def test_cuda_needs_weights_and_configurations(fake, part, name):
    del fake.generator[name][part]
    assert f"'{name}' lacks '{part}'" in fake.refusal()
    fake.manifest["engines"] = ["onnx"]
    assert fake.open().generator is not None


@pytest.mark.parametrize("name", ["graphs", "weights", "models"])
def test_what_nobody_knows_is_refused(fake, name):
    fake.generator[name]["clip"] = {}
    assert f"'{name}' holds 'clip', expected only" in fake.refusal()


FILES = ["encoder_first.onnx", "step.onnx", "step.onnx.data", "dit.safetensors", "vae.safetensors"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_missing_or_altered_is_refused(fake, name):
    path = fake.folder / name
    whole = path.read_bytes()
    for damaged in (bytes([whole[0] ^ 1]) + whole[1:], whole[:-1], whole + b"\0", b""):
        path.write_bytes(damaged)
        assert f"{name} does not match its manifest (sha256 " in fake.refusal()
    path.unlink()
    assert f"{name} is missing" in fake.refusal()
    path.mkdir()
    assert f"{name} is missing" in fake.refusal()


@pytest.mark.parametrize("name", ["../step.onnx", "/etc/passwd", "sub/step.onnx", "..", ".", "", "a\0b", "a" * 5000])
def test_a_path_that_leaves_the_bundle_is_refused(fake, name):
    generator = fake.generator
    for place in (("graphs", "step"), ("graphs", "step", "data"), ("weights", "dit")):
        fake.generator = copy.deepcopy(generator)
        entry = fake.generator
        for key in place:
            entry = entry[key]
        entry["file"] = name
        refusal = fake.refusal()
        assert any(part in refusal for part in ("expected a plain file name", "must be one line of text"))


def test_data_beside_a_graph_must_be_named_or_null(fake):
    del fake.generator["graphs"]["control"]["data"]
    assert "'graphs': 'control' lacks 'data', expected a JSON object or null" in fake.refusal()
    fake.generator["graphs"]["control"]["data"] = "control.onnx.data"
    assert "'data' must be a JSON object or null" in fake.refusal()


def test_graphs_may_share_their_data_and_it_counts_once(fake):
    shared = fake.generator["graphs"]["step"]["data"]
    before = fake.open().bytes_total
    fake.generator["graphs"]["decoder_first"]["data"] = shared
    bundle = fake.open()
    assert bundle.generator.graphs["decoder_first"].data == bundle.generator.graphs["step"].data
    assert bundle.bytes_total == before
    fake.generator["graphs"]["decoder_next"]["data"] = shared | {"sha256": "0" * 64}
    assert "step.onnx.data does not match its manifest" in fake.refusal()


def test_large_files_are_hashed_without_being_held(fake):
    size_bytes = 32 << 20
    path = fake.folder / "dit.safetensors"
    with path.open("wb") as file:
        file.truncate(size_bytes)
    fake.generator["weights"]["dit"]["sha256"] = hashlib.sha256(bytes(size_bytes)).hexdigest()
    fake.open()
    tracemalloc.start()
    open_bundle(fake.folder)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # The embedded prior, 2.5 MB, is read whole; the weights are not.
    assert peak < 8 << 20


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def _places(value, place=()):
    """Every place in a JSON value, as the keys that lead there."""
    yield place
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from _places(value[key], (*place, key))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_anywhere_is_read_or_refused_in_one_line(fake, data):
    generator = fake.generator
    place = data.draw(st.sampled_from([place for place in _places(generator) if place]))
    fake.generator = copy.deepcopy(generator)
    holder = fake.generator
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = data.draw(json_values)
    said = ""
    try:
        fake.open()
    except BundleError as error:
        said = str(error)
    fake.generator = generator
    assert len(said.splitlines()) <= 1


def test_what_a_bundle_was_built_with_is_text(fake):
    fake.manifest["built"] = {"clear_rt": "0.1.0", "commit": "abc", "torch": "2.13"}
    assert fake.open().built == fake.manifest["built"]
    fake.manifest["built"] = {"commit": None}
    assert "'built': 'commit' must be one line of text" in fake.refusal()
    fake.manifest["built"] = None
    assert "'built' must be a JSON object" in fake.refusal()
    del fake.manifest["built"]
    assert fake.open().built == {}


def test_info_says_what_the_generator_is(fake):
    fake.manifest["built"] = {"clear_rt": "0.1.0", "commit": "abc"}
    fake.open()
    found = inventory(None, fake.folder)["bundle"]
    assert found["generator"] == "8.40 M parameters, fp32"
    assert found["window"] == "33 frames (9 latents), overlap 2 latents"
    assert found["sizes"] == "640x144, 144x640"
    assert found["steps"] == "2, 4 (default 2)"
    assert found["policies"] == "paper, reference, stream"
    assert found["prompt"].endswith("…")
    assert len(found["prompt"]) <= 60
    assert PROMPT.startswith(found["prompt"][:-1])
    assert found["built"] == "clear_rt 0.1.0, commit abc"
    json.dumps(found)


def test_info_names_what_fixed_windows_leave(fake):
    fake.generator |= {"latents_fixed": True, "profiles": [], "prompt": "Short."}
    fake.open()
    found = inventory(None, fake.folder)["bundle"]
    assert found["policies"] == "paper, stream"
    assert found["sizes"] == "multiples of 16 px, 230400 pixels at most"
    assert found["prompt"] == "Short."
    assert "built" not in found


def test_info_of_a_bundle_without_a_generator_says_that_there_is_none(prior_bundle):
    assert inventory(None, prior_bundle)["bundle"]["generator"] == "none: --fill membrane only"


def test_info_of_the_embedded_bundle_says_what_its_generator_is():
    found = inventory(None, None)["bundle"]
    assert found["window"] == "17 frames (5 latents), overlap 1 latents"
    assert found["steps"] == "1, 2, 3, 4, 5, 10, 20 (default 1)"
