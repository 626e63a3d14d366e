"""Files of weights as one mapping from names to tensors: shapes known at once, values read one at a time.

The real transformer is 3 GB, its text encoder 11 GB: neither is ever read whole only to be looked at. Files are
untrusted: safetensors, or `.pt` and `.pth` through torch's weights-only load; never a pickle that can run code.
"""

from __future__ import annotations

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from clear_rt.errors import WeightsError

# What a damaged or hostile file was seen to raise in torch.load, of hundreds of random corruptions.
_BROKEN = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
_NESTS = ("model_state", "model_state_dict", "dit_state_dict")
# At the start of a name only: what trainers and compilers wrap around a model.
_WRAPPERS = re.compile(r"(?:model\.|pipe\.dit\.|module\.|_orig_mod\.|base_model\.)+")
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SUFFIXES = (".safetensors", ".pt", ".pth")


@dataclass(frozen=True, slots=True)
class _Stored:
    shape: tuple[int, ...]
    read: Callable[[], Tensor]


class Checkpoint(Mapping[str, Tensor]):
    """Tensors by name. A tensor that is read may lie in the mapped file: copy what must outlive or change.

    `source` names the files in errors; `shapes` has every shape by name, without reading any value.
    """

    def __init__(self, source: str, stored: Mapping[str, _Stored]) -> None:
        self.source = source
        self._stored = dict(stored)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: stored.shape for name, stored in self._stored.items()}

    def __getitem__(self, name: str) -> Tensor:
        """Raises WeightsError where the values cannot be read, are not plain floating-point numbers, or not finite."""
        stored = self._stored[name]
        try:
            tensor = stored.read()
        except (SafetensorError, OSError, RuntimeError) as error:
            raise WeightsError(f"{self.source}: cannot read {name} ({error}); fetch the file again") from error
        if tensor.layout != torch.strided or tensor.dtype not in _DTYPES:
            raise WeightsError(
                f"{self.source}: expected {name} to be dense and floating-point, found {tensor.dtype} {tensor.layout}; "
                "use the weights before quantization"
            )
        if not torch.isfinite(tensor).all():
            raise WeightsError(f"{self.source}: {name} holds NaN or infinity; fetch the file again")
        return tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)


def open_checkpoint(files: Path | Sequence[Path]) -> Checkpoint:
    """One file, or the shards of one model (an index file is not needed). Wrappers' prefixes are taken off the names.

    Raises WeightsError where a file is missing, damaged or of another kind, or two tensors have one name.
    """
    paths = [files] if isinstance(files, Path) else list(files)
    if not paths:
        raise WeightsError("expected at least one file of weights, got none")
    source = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    stored: dict[str, _Stored] = {}
    for path in paths:
        for wrapped, tensor in _opened(path).items():
            name = _WRAPPERS.sub("", wrapped, count=1) if _WRAPPERS.match(wrapped) else wrapped
            if name in stored:
                raise WeightsError(f"{path}: {name} is there twice; give the files of one model only, in one precision")
            stored[name] = tensor
    if not stored:
        raise WeightsError(f"{source}: expected weights by name, found no tensor; see whether it is the right file")
    return Checkpoint(source, stored)


def _opened(path: Path) -> dict[str, _Stored]:
    if path.suffix not in _SUFFIXES:
        raise WeightsError(f"{path}: expected a file that ends in {', '.join(_SUFFIXES)}")
    if not path.is_file():
        raise WeightsError(f"{path}: expected a file of weights, found none; check the path")
    return _from_safetensors(path) if path.suffix == ".safetensors" else _from_torch(path)


def _from_safetensors(path: Path) -> dict[str, _Stored]:
    try:
        opened: Any = safe_open(path, framework="pt")
        shapes = {name: tuple(opened.get_slice(name).get_shape()) for name in opened.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise _unreadable(path, "safetensors", error) from error

    def reader(name: str) -> Callable[[], Tensor]:
        return lambda: opened.get_tensor(name)

    return {name: _Stored(shape, reader(name)) for name, shape in shapes.items()}


def _from_torch(path: Path) -> dict[str, _Stored]:
    try:
        # Files from before torch 1.6 are not zip archives and cannot be mapped.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except _BROKEN as error:
        raise _unreadable(path, "weights saved by torch, without code", error) from error

    def reader(tensor: Tensor) -> Callable[[], Tensor]:
        return lambda: tensor

    return {name: _Stored(tuple(tensor.shape), reader(tensor)) for name, tensor in _tensors(content).items()}


def _tensors(content: object) -> dict[str, Tensor]:
    """The tensors of a state dict, or of the one inside what a trainer saved, without its counters and settings."""
    if not isinstance(content, dict):
        return {}
    nested = [content[key] for key in _NESTS if isinstance(content.get(key), dict)]
    state = nested[0] if nested else content
    return {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}


def _unreadable(path: Path, kind: str, error: Exception) -> WeightsError:
    # torch's own words would tell the reader to switch the safe load off.
    code = isinstance(error, pickle.UnpicklingError)
    reason = "what it holds is no plain tensor" if code else " ".join(str(error).split())[:120] or type(error).__name__
    return WeightsError(
        f"{path}: expected {kind}, found {_size_bytes(path)} bytes of something else ({reason}); "
        "fetch the file again or use the safetensors of the model"
    )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
