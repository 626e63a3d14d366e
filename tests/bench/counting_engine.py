"""An engine that computes nothing but says what it was asked: the loop that drives engines is under test, not it."""

from __future__ import annotations

import numpy as np


class CountingEngine:
    """Answers in the right shapes for latents of `channels`; `calls` holds what was called, in order."""

    name = "counting"

    def __init__(self, channels=16, latent_px=8, latent_frames=4, bad=None):
        self.calls, self.channels, self.px, self.frames, self.bad = [], channels, latent_px, latent_frames, bad

    def _answer(self, what, shape, value=0.0):
        return np.full(shape, np.nan if self.bad == what else value, np.float32)

    def occlusion(self, rgb):
        return np.zeros(rgb.shape[:2], np.uint8)

    def encode(self, frames, caches):
        number = 0 if caches is None else caches[0] + 1
        self.calls.append(("encode", frames.shape[1], number))
        height, width = frames.shape[2] // self.px, frames.shape[3] // self.px
        return self._answer("encode", (self.channels, height, width), number), [number]

    def decode(self, latent, caches):
        number = 0 if caches is None else caches[0] + 1
        self.calls.append(("decode", number))
        frames = 1 if caches is None else self.frames
        return self._answer("decode", (3, frames, latent.shape[1] * self.px, latent.shape[2] * self.px)), [number]

    def control(self, latents):
        held = tuple(latents[0, :, 0, 0].astype(int))
        self.calls.append(("control", held))
        return held

    def velocity(self, latents, control, row):
        self.calls.append(("velocity", control, row))
        return self._answer("velocity", latents.shape)
