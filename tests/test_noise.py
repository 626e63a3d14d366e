"""Noise: fixed by seed, run and latent alone; files are refused unless they are exactly what a run needs."""

from __future__ import annotations

import os
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clear_rt.errors import ConfigError
from clear_rt.noise import drawn, from_file

SHAPE = (4, 6, 10)
WORD = st.integers(0, 2**64 - 1)


def test_the_golden_values():
    """numpy keeps the bits of Philox for ever, and may in principle change how it makes them normal."""
    found = np.stack([drawn(0, 0)(0, (3,)), drawn(7, 1)(2, (3,)), drawn(2**64 - 1, 3)(10**6, (3,))])
    expected = [
        [0.059911035, 0.015559634, -1.1644385],
        [0.294051, -1.1408111, -0.49312827],
        [-0.778209, -1.9641896, 0.26376763],
    ]
    np.testing.assert_array_equal(found, np.array(expected, np.float32))


def test_it_is_standard_normal_float32():
    values = np.concatenate([drawn(3, 0)(t, (16, 24, 40)).ravel() for t in range(20)])
    assert values.dtype == np.float32
    # 307,200 draws: five standard errors of the mean, of the variance and of the fourth moment.
    count = values.size
    wide = values.astype(np.float64)
    assert abs(wide.mean()) < 5 / count**0.5
    assert abs(wide.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((wide**4).mean() - 3) < 5 * (96 / count) ** 0.5


@given(WORD, WORD, WORD)
def test_it_depends_on_nothing_else(seed, run, latent):
    alone = drawn(seed, run)(latent, SHAPE)
    noise = drawn(seed, run)
    for other in (latent ^ 1, 0, latent):
        again = noise(other, SHAPE)
    assert again.tobytes() == alone.tobytes()


def test_latents_runs_and_seeds_differ_and_are_uncorrelated():
    keys = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1), (0, 0, 2**32), (2**32, 0, 0), (0, 2**63, 0)]
    drawings = np.stack([drawn(seed, run)(t, (16, 24, 40)).ravel() for seed, run, t in keys]).astype(np.float64)
    correlations = np.corrcoef(drawings) - np.eye(len(keys))
    assert abs(correlations).max() < 5 / drawings.shape[1] ** 0.5


def test_neighbouring_latents_do_not_overlap():
    """A latent's stretch of the sequence is not its neighbour's, shifted."""
    a, b = drawn(0, 0)(0, (50_000,)), drawn(0, 0)(1, (50_000,))
    assert np.intersect1d(a, b).size < 1000
    assert not np.isin(b[:8], a).all()


def test_whoever_gets_it_owns_it():
    noise = drawn(5, 5)
    noise(1, SHAPE)[:] = np.nan
    assert np.isfinite(noise(1, SHAPE)).all()


@pytest.mark.parametrize(("seed", "run", "latent"), [(-1, 0, 0), (0, -1, 0), (0, 0, -1), (2**64, 0, 0), (0, 0, 2**64)])
def test_numbers_without_a_place_in_the_key_are_refused(seed, run, latent):
    with pytest.raises(ValueError, match=r"0 to 2\*\*64 - 1, got .*(-1|18446744073709551616)"):
        drawn(seed, run)(latent, SHAPE)


@pytest.fixture
def stored(tmp_path):
    """Function (array) -> the file that holds it."""

    def save(array):
        np.save(tmp_path / "noise.npy", array)
        return tmp_path / "noise.npy"

    return save


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_file_is_handed_out_latent_by_latent(stored, order):
    values = np.random.default_rng(0).standard_normal((4, 5, 6, 10), np.float32)
    noise = from_file(stored(np.asarray(values, order=order)))
    for t in (3, 0, 4, 0):
        np.testing.assert_array_equal(noise(t, SHAPE), values[:, t])
    found = noise(1, SHAPE)
    found[:] = np.nan
    assert (found.dtype, found.shape) == (np.float32, SHAPE)
    np.testing.assert_array_equal(noise(1, SHAPE), values[:, 1])


@pytest.mark.parametrize(
    ("array", "found"),
    [
        (np.zeros((4, 5, 6, 10)), "float64 4x5x6x10"),
        (np.zeros((4, 5, 6, 10), np.float16), "float16 4x5x6x10"),
        (np.zeros((4, 5, 6, 10), ">f4"), ">f4 4x5x6x10"),
        (np.zeros((4, 5, 6), np.float32), "float32 4x5x6"),
        (np.zeros((1, 4, 5, 6, 10), np.float32), "float32 1x4x5x6x10"),
        (np.float32(1), "float32 without axes"),
        (np.zeros((4, 0, 6, 10), np.float32), "float32 4x0x6x10"),
        (np.zeros((4, 5, 6, 10), np.int16), "int16 4x5x6x10"),
    ],
)
def test_another_form_is_refused(stored, array, found):
    with pytest.raises(ConfigError, match=rf"float32 \[channels, latents, height, width\], none .*, found {found};"):
        from_file(stored(array))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused_before_the_run(stored, bad):
    values = np.zeros((4, 5, 6, 10), np.float32)
    values[2, 3, 5, 9] = bad
    with pytest.raises(ConfigError, match="NaN or infinite noise at latent 3"):
        from_file(stored(values))


def test_noise_for_another_region_or_a_shorter_run_is_refused(stored):
    noise = from_file(stored(np.zeros((4, 5, 6, 10), np.float32)))
    with pytest.raises(ConfigError, match="latents 4x6x10, the run needs 4x6x12"):
        noise(0, (4, 6, 12))
    with pytest.raises(ConfigError, match="5 latents, the run needs more than 5"):
        noise(5, SHAPE)


class Trap:
    """Raises when it is unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("unpickled",))


def _objects(path):
    np.save(path, np.array([Trap()], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "write",
    [
        _objects,
        lambda path: path.write_bytes(pickle.dumps(Trap())),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"),
        lambda path: path.write_bytes(b"\x93NUMPY\x01\x00\x10\x00{'descr': oops}\n"),
        lambda path: np.savez(path.open("wb"), np.zeros(3, np.float32)),
        lambda path: path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr': '<f4'"),
        lambda path: path.mkdir(),
        lambda path: os.mkfifo(path),
        lambda path: path.symlink_to(path),
        lambda path: None,
    ],
    ids=["objects", "pickle", "empty", "cut", "garbled", "npz", "endless", "folder", "fifo", "loop", "missing"],
)
def test_what_is_no_array_is_one_sentence(tmp_path, write):
    path = tmp_path / "noise.npy"
    write(path)
    with pytest.raises(ConfigError, match=r"cannot be read as noise \(.+\); give a \.npy file") as caught:
        from_file(path)
    assert len(str(caught.value).splitlines()) == 1


def test_a_file_cut_short_is_refused(stored):
    path = stored(np.zeros((4, 5, 6, 10), np.float32))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(ConfigError, match="cannot be read as noise"):
        from_file(path)


@pytest.mark.parametrize(
    "shape",
    [
        "(1073741824, 4, 8, 8)",
        "(-1, 4, 8, 8)",
        "(1e3, 1, 1, 1)",
        "(4294967296, 4294967296, 4294967296, 4294967296)",
        "(999999999999999999, 999999999999999999, 1, 1)",
        "(" + "9" * 50 + ", 1, 1, 1)",
        "(1 1, 1, 1, 1)",
    ],
)
@pytest.mark.filterwarnings("error")
def test_a_header_that_lies_is_refused(tmp_path, shape):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}}}".ljust(117).encode() + b"\n"
    path = tmp_path / "noise.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(64))
    with pytest.raises(ConfigError, match="cannot be read as noise"):
        from_file(path)


@pytest.mark.parametrize("write", [np.lib.format.write_array_header_1_0, np.lib.format.write_array_header_2_0])
def test_both_versions_of_the_header_are_read(tmp_path, write):
    values = np.random.default_rng(1).standard_normal((4, 5, 6, 10), np.float32)
    with (tmp_path / "noise.npy").open("wb") as file:
        write(file, np.lib.format.header_data_from_array_1_0(values))
        values.tofile(file)
    np.testing.assert_array_equal(from_file(tmp_path / "noise.npy")(2, SHAPE), values[:, 2])


@pytest.mark.filterwarnings("error")
def test_a_damaged_header_is_one_sentence_or_harmless(stored):
    """1 to 4 bytes of the header replaced, left out or put in, by others of its own or by any."""
    path = stored(np.zeros((4, 5, 6, 10), np.float32))
    whole = path.read_bytes()
    header_bytes = len(whole) - 4 * 4 * 5 * 6 * 10
    rng, refused = np.random.default_rng(11), 0
    for _ in range(600):
        damaged = bytearray(whole)
        for _ in range(rng.integers(1, 5)):
            # Most of the header is spaces: more often than not the part in front of them.
            at = int(rng.integers(0, rng.choice([12, 70, header_bytes])))
            value = int(rng.choice([rng.integers(0, 256), whole[rng.integers(0, header_bytes)], *b"(,'{0-"]))
            damaged[at : at + int(rng.integers(0, 2))] = [value] * int(rng.integers(0, 2))
        path.write_bytes(damaged)
        sentence = _refusal(path)
        refused += bool(sentence)
        assert len(sentence.splitlines()) <= 1
        assert sentence == "" or "noise.npy" in sentence
    assert refused > 400


def _refusal(path):
    try:
        from_file(path)
    except ConfigError as error:
        return str(error)
    return ""
