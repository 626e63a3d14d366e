"""An engine in numpy whose answers can be told beforehand: pictures come back as the means of 8x8 blocks.

Four frames of three block means are 12 of the 16 channels of a latent, mixed by a fixed orthogonal matrix. The velocity
leads from any noise to the control latents, whatever the steps, so the generated frame n is made of source frame n, and
of no other: `answer` says what from. The occlusion is every pixel that is (nearly) white.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from clear_rt.bundle import Bundle, open_bundle
from clear_rt.errors import EngineError
from clear_rt.generator import GeneratorSpec, StepTable
from clear_rt.outlining import Outlining
from clear_rt.prior import Prior
from clear_rt.runtime.engine import Engine
from clear_rt.shapes import Size
from clear_rt.states import StateError

BLOCK_PX, CHANNELS = 8, 16
SIGMAS = {2: (1.0, 0.5, 0.0), 3: (1.0, 0.75, 0.25, 0.0)}
ROWS = {2: (0, 1), 3: (0, 2, 3)}
_SIGMA_OF_ROW = {0: 1.0, 1: 0.5, 2: 0.75, 3: 0.25}
_MIXING = np.linalg.qr(np.random.default_rng(8).normal(size=(CHANNELS, CHANNELS)))[0][:, :12]


def spec(**changes: object) -> GeneratorSpec:
    """A generator with windows of 5 latents (17 frames) that overlap by 2."""
    given = GeneratorSpec(
        latent_channels=CHANNELS,
        latent_px=BLOCK_PX,
        latent_frames=4,
        multiple_px=16,
        max_pixels=1 << 20,
        profiles=(),
        window_latents=5,
        overlap_latents=2,
        latents_fixed=False,
        draft=False,
        step_tables={steps: StepTable(SIGMAS[steps], ROWS[steps]) for steps in SIGMAS},
        default_steps=2,
        shift=5.0,
        prompt="none",
        precision="fp32",
        parameters=0,
        graphs={},
        weights={},
        models={},
    )
    return replace(given, **changes)


def bundle(generator: GeneratorSpec | None = None) -> Bundle:
    """The embedded bundle with another generator, and no network beside the prior."""
    return replace(open_bundle(), name="blocks", outliner=None, generator=generator or spec())


def outlining(engine: Engine, size: Size) -> Outlining:
    """Of pictures that are looked at in their own size, once."""
    return Outlining(Prior(engine, bundle().prior.multiple_px), size, None, size, seen_level=51)


class ShadedOutliner:
    """Says of text how dark the picture around it is, so that a look at one frame is not a look at another."""

    def occlusion(self, rgb: np.ndarray) -> np.ndarray:
        return np.where(rgb.min(axis=2) >= 235, np.uint8(255 - np.median(rgb)), np.uint8(0))


def outlining_twice(engine: Engine, size: Size) -> Outlining:
    """Of pictures that are looked at in their own size, by the engine and by a `ShadedOutliner`."""
    return outlining(engine, size)._replace(outliner=Prior(ShadedOutliner(), bundle().prior.multiple_px))


def block_means(pictures: np.ndarray) -> np.ndarray:
    """[3, T, H, W] -> [3, T, H / 8, W / 8]."""
    channels, count, height, width = pictures.shape
    cells = pictures.reshape(channels, count, height // BLOCK_PX, BLOCK_PX, width // BLOCK_PX, BLOCK_PX)
    return cells.mean(axis=(3, 5), dtype=np.float64)


def answer(picture: np.ndarray) -> np.ndarray:
    """What is generated for a crop uint8 [H, W, 3]: its inverted block means, float64 0..255."""
    means = block_means(picture.transpose(2, 0, 1)[:, None].astype(np.float64))[:, 0]
    return 255 - means.repeat(BLOCK_PX, 1).repeat(BLOCK_PX, 2).transpose(1, 2, 0)


class BlockEngine:
    """Caches are lists that the engine knows again: those of another run or another step fail.

    `fail_after_steps` velocities, one more raises EngineError.
    """

    name = kept_as = "blocks"

    def __init__(self, fail_after_steps: int | None = None) -> None:
        self.encoded_shapes: list[tuple[int, ...]] = []
        self.window_latents: list[int] = []
        self.velocities = 0
        self.fail_after_steps = fail_after_steps
        self._valid: list[list[int]] = []

    def _stepped(self, caches: Sequence[int] | None) -> list[int]:
        if caches is not None:
            assert any(valid is caches for valid in self._valid), "caches of another step"
            self._valid = [valid for valid in self._valid if valid is not caches]
        stepped = [0 if caches is None else caches[0] + 1]
        self._valid.append(stepped)
        return stepped

    def saved(self, caches: Sequence[int]) -> list[np.ndarray]:
        return [np.array(caches, np.int64)]

    def restored(self, coder: str, arrays: Sequence[np.ndarray]) -> Sequence[int]:
        if len(arrays) != 1 or arrays[0].shape != (1,):
            raise StateError("expected the caches of blocks")
        self._valid.append([int(arrays[0][0])])
        return self._valid[-1]

    def occlusion(self, rgb: np.ndarray) -> np.ndarray:
        return np.where(rgb.min(axis=2) >= 235, np.uint8(255), np.uint8(0))

    def encode(self, frames: np.ndarray, caches: Sequence[int] | None) -> tuple[np.ndarray, Sequence[int]]:
        assert frames.dtype == np.float32
        assert np.abs(frames).max() <= 1
        assert frames.shape[:2] == (3, 1 if caches is None else 4)
        self.encoded_shapes.append(frames.shape)
        means = block_means(frames)
        if caches is None:
            means = means.repeat(4, axis=1)
        latent = np.tensordot(_MIXING, means.reshape(12, *means.shape[2:]), 1)
        return latent.astype(np.float32), self._stepped(caches)

    def decode(self, latent: np.ndarray, caches: Sequence[int] | None) -> tuple[np.ndarray, Sequence[int]]:
        means = np.tensordot(_MIXING.T, latent.astype(np.float64), 1).reshape(3, 4, *latent.shape[1:])
        if caches is None:
            means = means[:, :1]
        frames = -means.repeat(BLOCK_PX, 2).repeat(BLOCK_PX, 3)
        return frames.astype(np.float32), self._stepped(caches)

    def control(self, latents: np.ndarray) -> np.ndarray:
        self.window_latents.append(latents.shape[1])
        return latents

    def velocity(self, latents: np.ndarray, control: np.ndarray, row: int) -> np.ndarray:
        assert latents.shape == control.shape
        self.velocities += 1
        if self.fail_after_steps is not None and self.velocities > self.fail_after_steps:
            raise EngineError("the block engine failed, as it was told to; do not tell it to")
        return ((latents - control) / _SIGMA_OF_ROW[row]).astype(np.float32)
