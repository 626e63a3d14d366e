"""Engines of a fresh bundle beside the networks they were made of, on a built-in clip (design section 8)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import log10, sqrt
from typing import NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from clear_rt.bundle import Bundle
from clear_rt.config import EngineName
from clear_rt.denoise import denoise
from clear_rt.denoise_model import Model
from clear_rt.errors import EngineError
from clear_rt.export.calibration import generator_spec
from clear_rt.export.config import ExportConfig
from clear_rt.export.networks import Networks, on_gpu
from clear_rt.export.plan_runner import PlanRunner
from clear_rt.generator import GeneratorSpec
from clear_rt.latents import Codec, decode, encode
from clear_rt.models.weights_folder import WeightsFolder
from clear_rt.noise import drawn
from clear_rt.runtime.device import first_gpu
from clear_rt.runtime.engine import open_engine
from clear_rt.runtime.torch_networks import TorchNetworks
from clear_rt.runtime.trt_library import library_found
from clear_rt.schedule import frames_of
from clear_rt.shapes import Size
from clear_rt.windows import plan_windows

UInt8 = NDArray[np.uint8]
Floats = NDArray[np.float32]

# PSNR of the decoded clip against the networks before they were rounded or quantised. In fp32 engines are equal but for
# rounding, and but for the E4M3 values that falls to the other side of a verge.
FLOORS_DB: Mapping[str, float] = {"fp32": 50.0, "bf16": 40.0, "fp16": 40.0, "fp8": 34.0}
# Beyond this engines are equal for every eye; how equal differs from machine to machine, and bundles should not.
MOST_DB = 99.0
# Where shapes are open: small enough for the real model on two cores, with a step of the VAE that has a past.
OPEN_SIZE, OPEN_LATENTS = Size(96, 64), 2
_SEED = 0
# Of velocities that are all 0.
_LEAST_RMS = 1e-30


class Generating(Codec, Model, Protocol):
    """The part of `clear_rt.runtime.engine.Engine` that generates."""


class Outcome(NamedTuple):
    """What networks made of the clip: the velocity [C, L, h, w] of the first step, and frames [T, H, W, 3], 0..255."""

    velocity: Floats
    frames: Floats


@dataclass(frozen=True, slots=True)
class Verified:
    """PSNR of the frames in dB, and the velocity's error relative to its size, both by root mean square."""

    psnr_db: float
    velocity_error: float

    def __str__(self) -> str:
        return f"PSNR {self.psnr_db:.1f} dB, velocity off by {self.velocity_error:.1e}"


class Check:
    """Keeps what the networks make of the clip before TensorRT's halves take their place.

    Raises EngineError where a network answers with NaN or infinity.
    """

    def __init__(self, networks: Networks, config: ExportConfig, found: WeightsFolder) -> None:
        self._config, self._spec = config, generator_spec(config, found.vae_config)
        if {"onnx", "cuda"}.isdisjoint(config.engines):
            return
        self._exact = outcome(networks.reference, self._spec)
        self._quantised = self._exact
        if networks.served is not networks.dit:
            served = TorchNetworks(networks.served, networks.encoder, networks.decoder)
            self._quantised = outcome(served, self._spec)

    def bundle(self, bundle: Bundle, networks: Networks) -> dict[str, str]:
        """What is found of every engine of a bundle, or why it is not verified. Raises EngineError below a floor."""
        return {name: self._engine(name, bundle, networks) for name in self._config.engines}

    def _engine(self, name: str, bundle: Bundle, networks: Networks) -> str:
        if name == "trt":
            return self._plans(bundle, networks)
        engine = open_engine(cast("EngineName", name), bundle)
        found = outcome(engine, self._spec)
        # On a GPU the cuda engine rounds to bf16 by itself.
        rounded = "fp32" if getattr(engine, "precision", "fp32") == "fp32" else "bf16"
        # What an engine makes of a quantised network hides behind what quantising costs, unless it is looked at alone.
        require(name, compared(self._quantised, found), rounded)
        verified = compared(self._exact, found)
        require(name, verified, "fp8" if self._config.precision == "fp8" else rounded)
        return str(verified)

    def _plans(self, bundle: Bundle, networks: Networks) -> str:
        """At every profile, as each has kernels of its own, and NaN shows at the largest one."""
        spec = bundle.generator
        assert spec is not None
        assert spec.plans is not None
        if obstacles := spec.plans.obstacles(first_gpu(), library_found()):
            return f"unverified: {obstacles[0]}"
        with on_gpu(networks.dit, networks.encoder, networks.decoder):
            expected = {size: outcome(networks.reference, spec, size) for size in self._config.profiles}
        worst = []
        for size in self._config.profiles:
            with PlanRunner(bundle, size) as runner:
                verified = compared(expected[size], outcome(runner, spec, size))
            require(f"trt at {size.width_px}x{size.height_px}", verified, self._config.precision)
            worst.append(verified)
        return str(min(worst, key=lambda verified: verified.psnr_db))


def outcome(networks: Generating, spec: GeneratorSpec, size: Size | None = None) -> Outcome:
    """One window of the built-in clip, encoded, denoised in the default number of steps, and decoded.

    `size` is needed where the bundle's shapes are fixed. Raises EngineError where a value is NaN or infinite.
    """
    latents = spec.window_latents if spec.latents_fixed else min(spec.window_latents, OPEN_LATENTS)
    frames, table = frames_of(latents, spec.latent_frames), spec.step_tables[spec.default_steps]
    control = list(
        encode(
            networks,
            iter(clip(size or OPEN_SIZE, frames)),
            frames,
            latent_channels=spec.latent_channels,
            latent_px=spec.latent_px,
            latent_frames=spec.latent_frames,
        )
    )
    noise = drawn(_SEED, 0)
    start = np.stack([noise(i, latent.shape) for i, latent in enumerate(control)], axis=1)
    velocity = networks.velocity(start, networks.control(np.stack(control, axis=1)), table.rows[0])
    plan = plan_windows(latents, latents, 0, "paper")
    clean = denoise(iter(control), noise, networks, plan, table, "paper")
    return Outcome(velocity, np.stack(list(decode(networks, clean, frames))))


def compared(expected: Outcome, found: Outcome) -> Verified:
    error = _rms(found.frames - expected.frames)
    psnr_db = MOST_DB if error == 0 else min(MOST_DB, 20 * log10(255 / error))
    return Verified(psnr_db, _rms(found.velocity - expected.velocity) / max(_rms(expected.velocity), _LEAST_RMS))


def require(name: str, verified: Verified, precision: str) -> None:
    """Raises EngineError below the floor of a precision."""
    if not verified.psnr_db >= FLOORS_DB[precision]:
        raise EngineError(
            f"engine {name} in {precision} is too far from the network it was made of: expected a PSNR of "
            f"{FLOORS_DB[precision]:g} dB or more, got {verified}; build in a higher precision, or look at it with "
            "--no-verify"
        )


def clip(size: Size, frames: int) -> UInt8:
    """uint8 [frames, H, W, 3]: smooth texture of three scales that drifts, and bright strokes that stand still."""
    rng = np.random.default_rng(_SEED)
    y, x = np.mgrid[: size.height_px, : size.width_px].astype(np.float32)
    waves = rng.uniform(-1, 1, (12, 3)) * [2 * np.pi / 9, 2 * np.pi / 9, 0.6]
    colours = rng.uniform(-1, 1, (12, 3))
    scales = np.repeat([1.0, 0.4, 0.15], 4)
    made = np.empty((frames, size.height_px, size.width_px, 3), np.uint8)
    letters = ((x.astype(int) // 3) % 5 == 0) & (abs(y - 0.75 * size.height_px) < 0.08 * size.height_px)
    for t in range(frames):
        picture = np.full((*x.shape, 3), 120.0, np.float32)
        for (across, down, speed), colour, scale in zip(waves, colours, scales, strict=True):
            wave = np.sin(scale * (across * x + down * y) + speed * t)
            picture += (18 / sqrt(scale)) * wave[..., None] * colour.astype(np.float32)
        made[t] = picture.clip(0, 255)
        made[t][letters] = 235
    return made


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
