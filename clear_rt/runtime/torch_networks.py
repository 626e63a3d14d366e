"""Networks in torch behind the engines' protocol: what `cuda` runs, and what an export compares its engines with."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clear_rt.errors import EngineError
from clear_rt.models.baked import BakedDit
from clear_rt.models.vae_step import DecoderStep, EncoderStep
from clear_rt.restart import Coder, Host, check_caches
from clear_rt.runtime.cuda.crossing import as_bits, from_bits
from clear_rt.runtime.engine import Caches, Floats


class TorchNetworks:
    """Modules on one device, in the types that they are in; arrays are float32 outside."""

    def __init__(self, dit: BakedDit, encoder: EncoderStep, decoder: DecoderStep) -> None:
        self._dit, self._encoder, self._decoder = dit, encoder, decoder

    def encode(self, frames: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.encode`."""
        latent, *kept = self._ran(self._encoder, _tensor(frames, self._encoder.conv1.weight), *(caches or ()))
        return as_array(latent[0, :, 0]), kept

    def decode(self, latent: Floats, caches: Caches | None) -> tuple[Floats, Caches]:
        """As `Engine.decode`."""
        frames, *kept = self._ran(
            self._decoder, _tensor(latent, self._decoder.conv2.weight)[:, :, None], *(caches or ())
        )
        return as_array(frames[0]), kept

    def control(self, latents: Floats) -> Tensor:
        """As `Engine.control`."""
        tokens: Tensor = self._ran(self._dit.control, _tensor(latents, self._dit.time))
        return tokens

    def velocity(self, latents: Floats, control: Tensor, row: int) -> Floats:
        """As `Engine.velocity`."""
        found = self._ran(
            self._dit, _tensor(latents, self._dit.time), control, torch.tensor(row, device=self._dit.time.device)
        )
        return as_array(found[0])

    @property
    def kept_as(self) -> str:
        """As `restart.KeepsCaches.kept_as`."""
        return f"torch {self._dit.time.dtype} {self._encoder.conv1.weight.dtype} on {self._dit.time.device.type}"

    def saved(self, caches: Caches) -> Iterator[Host]:
        """As `restart.KeepsCaches.saved`."""
        return map(as_bits, caches)

    def restored(self, coder: Coder, arrays: Sequence[Host]) -> Caches:
        """As `restart.KeepsCaches.restored`."""
        step = self._encoder if coder == "encoder" else self._decoder
        weight = next(step.parameters())
        check_caches(arrays, step.cache_count, 5, as_bits(weight.new_empty(0)).dtype)
        return [from_bits(array, weight.device) for array in arrays]

    @torch.inference_mode()
    def _ran(self, network: Callable[..., Any], *inputs: Tensor) -> Any:  # noqa: ANN401 - what the network returns
        try:
            return network(*inputs)
        except (RuntimeError, IndexError) as error:
            remedy = "use a smaller --region" if _is_memory(error) else "build or fetch the bundle again"
            raise EngineError(f"--engine cuda failed on {[*inputs[0].shape]} ({short(error)}); {remedy}") from None


def _tensor(array: Floats, like: Tensor) -> Tensor:
    """With an axis of one in front, on the device and in the type of `like`."""
    return torch.from_numpy(np.ascontiguousarray(array)).to(like)[None]


def as_array(tensor: Tensor) -> Floats:
    """In float32, on the CPU."""
    array: Floats = tensor.float().cpu().numpy()
    return array


def _is_memory(error: Exception) -> bool:
    # On the CPU torch says it in words only.
    return isinstance(error, torch.OutOfMemoryError) or "not enough memory" in str(error)


def short(error: Exception) -> str:
    """What a library says of an error, on one line."""
    return " ".join(str(error).split())[:160] or type(error).__name__
