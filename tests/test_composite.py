"""Paste: what the matte leaves out keeps every bit on every plane layout; what it covers is rounded and clipped."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clear_rt.composite import paste
from clear_rt.config import CompositeConfig
from clear_rt.errors import ConfigError
from clear_rt.shapes import Box, Size, plane_box, whole

MEMBRANE = CompositeConfig()
SHIFTED = CompositeConfig(fill="model")
PASTED = CompositeConfig(mode="paste", fill="model")
OFF = CompositeConfig(mode="off", fill="model")


@dataclass(frozen=True)
class Plane:
    samples: np.ndarray
    kind: str
    step_x_px: int = 1
    step_y_px: int = 1
    bits: int = 8
    shift: int = 0


@dataclass(frozen=True)
class Picture:
    planes: tuple[Plane, ...]

    def edited(self) -> Picture:
        return Picture(tuple(replace(plane, samples=_laid_out_alike(plane.samples)) for plane in self.planes))


def _laid_out_alike(samples: np.ndarray) -> np.ndarray:
    """A writable copy that is a strided view too, so that writing through views is what is tested."""
    return np.repeat(np.rot90(samples), 2, axis=1)[:, ::2].swapaxes(0, 1)[:, ::-1]


LAYOUTS = {
    "yuv420p": [("luma", 1, 1), ("chroma", 2, 2), ("chroma", 2, 2)],
    "yuv422p": [("luma", 1, 1), ("chroma", 2, 1), ("chroma", 2, 1)],
    "yuv440p": [("luma", 1, 1), ("chroma", 1, 2), ("chroma", 1, 2)],
    "yuva444p": [("luma", 1, 1), ("chroma", 1, 1), ("chroma", 1, 1), ("alpha", 1, 1)],
    "gbrap": [("rgb", 1, 1), ("rgb", 1, 1), ("rgb", 1, 1), ("alpha", 1, 1)],
    "gray": [("luma", 1, 1)],
}
DEPTHS = [(8, 0), (10, 0), (10, 6), (12, 4), (16, 0)]


def picture_of(layout: str, size: Size, depth: tuple[int, int], view: str, seed: int = 0) -> Picture:
    rng = np.random.default_rng(seed)
    bits, shift = depth
    planes = []
    for kind, step_x, step_y in LAYOUTS[layout]:
        inner = plane_box(whole(size), step_x, step_y)
        shape = inner.height_px, inner.width_px
        values = rng.integers(0, 2**bits, shape).astype(np.uint8 if bits == 8 else np.uint16) << shift
        planes.append(Plane(viewed(values, view), kind, step_x, step_y, bits, shift))
    return Picture(tuple(planes))


def viewed(values: np.ndarray, view: str) -> np.ndarray:
    if view == "rot90":
        return np.rot90(np.ascontiguousarray(np.rot90(values, -1)))
    if view == "packed":
        return np.stack([values, values ^ 1], axis=2)[..., 0]
    return values


def matte_of(size: Size, box: Box, seed: int = 1) -> np.ndarray:
    matte = np.zeros((size.height_px, size.width_px), np.uint8)
    rng = np.random.default_rng(seed)
    y, x = box.y_px + box.height_px // 3, box.x_px + box.width_px // 4
    part = matte[y : y + max(box.height_px // 3, 1), x : x + max(box.width_px // 2, 1)]
    part[...] = rng.choice(np.array([0, 85, 170, 255], np.uint8), part.shape)
    return matte


def covered(plane: Plane, matte: np.ndarray, box: Box) -> np.ndarray:
    """Samples that may change: footprint of the matte inside the box, chroma with one sample more."""
    allowed = np.zeros(plane.samples.shape, bool)
    for y, x in np.argwhere(matte):
        if box.y_px <= y < box.bottom_px and box.x_px <= x < box.right_px:
            row, column, more = y // plane.step_y_px, x // plane.step_x_px, plane.kind == "chroma"
            allowed[max(row - more, 0) : row + 1 + more, max(column - more, 0) : column + 1 + more] = True
    return allowed


def generated_for(frame: Picture, box: Box, seed: int = 2) -> list[np.ndarray | None]:
    rng = np.random.default_rng(seed)
    contents = []
    for plane in frame.planes:
        inner = plane_box(box, plane.step_x_px, plane.step_y_px)
        top = 2**plane.bits
        contents.append(rng.uniform(-0.5 * top, 1.5 * top, (inner.height_px, inner.width_px)).astype(np.float32))
    return contents


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(sorted(LAYOUTS)),
    st.builds(Size, st.integers(1, 37), st.integers(1, 37)),
    st.sampled_from(DEPTHS),
    st.sampled_from(["plain", "rot90", "packed"]),
    st.sampled_from([MEMBRANE, SHIFTED, PASTED]),
    st.data(),
)
def test_outside_the_matte_every_bit_stays(layout, size, depth, view, config, data):
    frame = picture_of(layout, size, depth, view)
    x, y = data.draw(st.integers(0, size.width_px - 1)), data.draw(st.integers(0, size.height_px - 1))
    box = Box(x, y, data.draw(st.integers(1, size.width_px - x)), data.draw(st.integers(1, size.height_px - y)))
    matte = matte_of(size, box, data.draw(st.integers(0, 99)))
    untouched = [plane.samples.copy() for plane in frame.planes]
    result = paste(frame, box, matte, config, generated_for(frame, box) if config.fill == "model" else None)
    for plane, done, before in zip(frame.planes, result.planes, untouched, strict=True):
        np.testing.assert_array_equal(plane.samples, before)
        keep = ~covered(plane, matte, box) if plane.kind != "alpha" else np.ones(before.shape, bool)
        np.testing.assert_array_equal(done.samples[keep], before[keep])
        assert done.samples.dtype == before.dtype
        assert not (done.samples & ((1 << plane.shift) - 1)).any()
        assert (done.samples >> plane.shift).max() < 2**plane.bits


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("layout", ["yuv420p", "gbrap"])
def test_text_on_a_flat_picture_vanishes(layout, depth):
    size, box = Size(61, 43), Box(4, 20, 51, 21)
    bits, shift = depth
    flat = picture_of(layout, size, depth, "rot90")
    level = 2**bits * 3 // 8
    for plane in flat.planes:
        plane.samples[...] = level << shift
    marked = flat.edited()
    matte = np.zeros((43, 61), np.uint8)
    matte[26:34, 10:46] = 255
    for plane in marked.planes:
        if plane.kind != "alpha":
            inner = plane_box(Box(10, 26, 36, 8), plane.step_x_px, plane.step_y_px)
            plane.samples[inner.slices] = (2**bits - 1) << shift
    for plane in paste(marked, box, matte, MEMBRANE).planes:
        assert (plane.samples == level << shift).all()


def test_a_fixed_box_through_the_text_takes_its_surroundings_along():
    frame = picture_of("gray", Size(40, 30), (8, 0), "plain")
    frame.planes[0].samples[...] = 90
    frame.planes[0].samples[10:20, 10:30] = 255
    matte = np.zeros((30, 40), np.uint8)
    matte[10:20, 10:30] = 255
    done = paste(frame, Box(10, 10, 20, 10), matte, MEMBRANE).planes[0].samples
    assert (done == 90).all()


@pytest.mark.parametrize("config", [MEMBRANE, SHIFTED, PASTED])
def test_an_empty_matte_returns_the_frame_itself(config):
    size = Size(32, 24)
    frame = picture_of("yuv420p", size, (8, 0), "plain")
    box = Box(0, 12, 32, 12)
    generated = generated_for(frame, box) if config.fill == "model" else None
    assert paste(frame, box, np.zeros((360, 480), np.uint8), config, generated) is frame
    above = np.zeros((24, 32), np.uint8)
    above[:10] = 255
    assert paste(frame, box, above, config, generated) is frame


def test_pasted_samples_are_mixed_rounded_and_clipped():
    size = Size(24, 16)
    frame = picture_of("yuv420p", size, (10, 6), "packed")
    box, matte = whole(size), np.zeros((16, 24), np.uint8)
    matte[:, :8], matte[:, 8:16] = 255, 85
    generated = generated_for(frame, box)
    result = paste(frame, box, matte, PASTED, generated)
    source = (frame.planes[0].samples >> 6).astype(np.float64)
    mixed = source + (generated[0] - source) * matte / 255.0
    values = result.planes[0].samples >> 6
    np.testing.assert_allclose(values, np.clip(mixed, 0, 1023), atol=0.5 + 2e-3)
    np.testing.assert_array_equal(values[:, :8], np.clip(np.rint(generated[0][:, :8]), 0, 1023))


def test_shifted_content_meets_the_source_whatever_its_level():
    size = Size(48, 32)
    y, x = np.mgrid[0:32, 0:48]
    content = (100 + 40 * np.sin(x / 3) + y).astype(np.float32)
    frame = Picture((Plane(np.rint(content).astype(np.uint8), "luma"),))
    matte = np.zeros((32, 48), np.uint8)
    matte[8:24, 8:40] = 255
    frame.planes[0].samples[matte > 0] = 255
    done = paste(frame, whole(size), matte, SHIFTED, [content - 17]).planes[0].samples
    assert np.abs(done - content).max() <= 1.0 + 0.5
    none = paste(frame, whole(size), matte, SHIFTED, [None])
    np.testing.assert_array_equal(none.planes[0].samples, frame.planes[0].samples)


def test_off_writes_the_box_whole_but_not_alpha():
    size, box = Size(21, 15), Box(3, 5, 11, 7)
    frame = picture_of("yuva444p", size, (8, 0), "rot90")
    generated = generated_for(frame, box)
    result = paste(frame, box, np.zeros((15, 21), np.uint8), OFF, generated)
    for plane, done, content in zip(frame.planes, result.planes, generated, strict=True):
        expected = plane.samples.copy()
        if plane.kind != "alpha":
            expected[box.slices] = np.clip(np.rint(content), 0, 255)
        np.testing.assert_array_equal(done.samples, expected)


def test_generated_content_must_be_there_and_fit():
    frame, box = picture_of("yuv420p", Size(32, 24), (8, 0), "plain"), Box(0, 8, 32, 16)
    matte = np.full((24, 32), 255, np.uint8)
    with pytest.raises(ConfigError, match="--fill membrane"):
        paste(frame, box, matte, SHIFTED)
    wrong = generated_for(frame, box)
    with pytest.raises(ValueError, match="32x16"):
        paste(frame, box, matte, SHIFTED, [wrong[1], *wrong[1:]])
    with pytest.raises(ValueError, match="zip"):
        paste(frame, box, matte, SHIFTED, wrong[:2])
