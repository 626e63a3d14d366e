"""What torch raises, as errors of ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from clear_rt.errors import EngineError
from clear_rt.runtime.torch_networks import short


@contextmanager
def told(shape: Sequence[int]) -> Iterator[None]:
    """Raises EngineError, which names the shape, for errors of torch and of kernels."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise EngineError(
            f"--engine cuda: the GPU's memory does not hold {[*shape]} ({short(error)}); "
            "use a smaller --region, or a bundle with shorter windows"
        ) from None
    except (RuntimeError, IndexError, ValueError) as error:
        raise EngineError(
            f"--engine cuda failed on {[*shape]} ({short(error)}); build or fetch the bundle again"
        ) from None
