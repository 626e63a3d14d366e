"""Which files of a repository are needed: those that `find_weights` reads, or one adapter."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from clear_rt.errors import ConfigError, WeightsError
from clear_rt.models.sources import ADAPTER_SUFFIXES
from clear_rt.models.weights_folder import (
    CONFIG_FILE,
    DIFFUSERS_VAE,
    PROMPT_FILE,
    SHARDS,
    TEXT_ENCODER,
    TOKENIZER,
    VAE_FILES,
)


def wanted_weights(source: str, names: Iterable[str], text_encoder: bool) -> list[str]:
    """Transformer, VAE, what describes them and a stored prompt; with `text_encoder` also UMT5 and its tokenizer.

    Raises WeightsError, which begins with `source`, where the transformer, the VAE or the encoder is not among `names`.
    """
    given = sorted(names)
    nested = [name for name in given if _inside(name, "transformer") and fnmatchcase(name.split("/")[1], SHARDS)]
    shards = nested or [name for name in given if "/" not in name and fnmatchcase(name, SHARDS)]
    vae = [name for name in ((DIFFUSERS_VAE, *VAE_FILES) if nested else VAE_FILES) if name in given]
    if not shards or not vae:
        raise WeightsError(
            f"{source}: expected a model as {SHARDS} with its VAE as {VAE_FILES[0]}, or the two in transformer/ and "
            f"vae/, found {some(given) or 'no file'}; name another repository"
        )
    wanted = [*shards, vae[0], *(name for name in (CONFIG_FILE, PROMPT_FILE) if name in given)]
    if text_encoder:
        wanted += _encoder(source, given)
    return wanted


def wanted_adapter(source: str, names: Iterable[str], file: str | None) -> str:
    """The one checkpoint, or `file`. Raises WeightsError where it is not there, ConfigError where there are several."""
    given = sorted(name for name in names if name.endswith(ADAPTER_SUFFIXES))
    if file is not None and file in given:
        return file
    if file is not None or not given:
        raise WeightsError(
            f"{source}: expected {file or 'a checkpoint of a LoRA'} ({', '.join(ADAPTER_SUFFIXES)}), "
            f"found {some(given) or 'none'}; name another {'file' if given else 'repository'}"
        )
    if len(given) > 1:
        raise ConfigError(f"{source}: expected one checkpoint of a LoRA, found {some(given)}; choose by --lora-file")
    return given[0]


def some(names: list[str]) -> str:
    """The first few names. Without torch, which `clear_rt.models.weights` needs."""
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _encoder(source: str, given: list[str]) -> list[str]:
    tokenizer = [name for name in given if _inside(name, TOKENIZER)]
    if TEXT_ENCODER not in given or not tokenizer:
        raise WeightsError(
            f"{source}: expected the text encoder {TEXT_ENCODER} and its tokenizer {TOKENIZER}/, found "
            f"{'no tokenizer' if TEXT_ENCODER in given else 'no encoder'}; leave --text-encoder out"
        )
    return [TEXT_ENCODER, *tokenizer]


def _inside(name: str, folder: str) -> bool:
    """Whether a file lies directly in a folder."""
    return name.rpartition("/")[0] == folder
