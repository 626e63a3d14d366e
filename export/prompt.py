"""The prompt as the transformer takes it: one vector per token, a small file instead of an 11 GB text encoder."""

from __future__ import annotations

import html
import importlib
import re
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from clear_rt.errors import WeightsError
from clear_rt.models.weights import listed
from clear_rt.models.weights_folder import WeightsFolder

# The prompt of CLEAR's training and of its inference.py, and that of its scripts, which published results were most
# likely made with (reference.md 4).
P_TRAIN = (
    "Please remove the subtitle text from the video while preserving the character appearance, background composition, "
    "and color style. Do not add any new elements."
)
P_SCRIPT = (
    "Remove the text overlays and subtitles from this video while preserving the original background content and "
    "maintaining temporal consistency across frames."
)
# What a user may say instead of them.
PRESETS = {"train": P_TRAIN, "script": P_SCRIPT}
MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """`embedding` [P, text_width], float32 or bfloat16, finite, P <= 512: real tokens, the end of sentence included."""

    text: str
    embedding: Tensor = field(repr=False)


def prompt_for(found: WeightsFolder, text: str | None = None, file: Path | None = None) -> Prompt:
    """The prompt that a bundle is made for: from `file`, or the folder's prompt.safetensors, or encoded anew.

    `text` may be the name of a preset. A file, as the folder's own, has to hold `text` where that is given; None takes
    what is stored, and "train" where nothing is. With `file` neither the folder's prompt nor its encoder is looked at.
    Raises WeightsError where the prompt is not to be had, or does not fit the model.
    """
    text = preset(text)
    prompt = _from_folder(found, text) if file is None else _from_file(file, text)
    origin = f"beside {found.vae}" if file is None else f"in {file}"
    if len(prompt.embedding) > found.dit_config.text_tokens:
        raise WeightsError(
            f"expected a prompt of at most {found.dit_config.text_tokens} tokens, found {len(prompt.embedding)} "
            f"{origin}; shorten it"
        )
    if prompt.embedding.shape[1] != found.dit_config.text_width:
        raise WeightsError(
            f"expected a prompt embedding {found.dit_config.text_width} wide, found {prompt.embedding.shape[1]} "
            f"{origin}; make it with the text encoder of this model"
        )
    return prompt


def cleaned(text: str) -> str:
    """As Wan cleans prompts: broken Unicode mended where ftfy is installed, HTML entities undone, spaces collapsed."""
    with suppress(ModuleNotFoundError):
        text = importlib.import_module("ftfy").fix_text(text)
    return re.sub(r"\s+", " ", html.unescape(html.unescape(text))).strip()


def read_prompt(path: Path) -> Prompt:
    """Raises WeightsError where the file is damaged, holds anything else, or values that are not finite."""
    try:
        with safe_open(path, framework="pt") as opened:
            names, notes = list(opened.keys()), opened.metadata() or {}
            embedding = opened.get_tensor("embedding").clone() if names == ["embedding"] else None
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: expected a prompt in safetensors ({error}); write it again") from error
    if embedding is None or "text" not in notes:
        raise WeightsError(
            f"{path}: expected the tensor embedding, and its text in the metadata, found {listed(names) or 'nothing'} "
            f"{'with' if 'text' in notes else 'without'} text; write it with write_prompt"
        )
    _check(str(path), embedding)
    return Prompt(notes["text"], embedding)


def write_prompt(path: Path, text: str, embedding: Tensor) -> None:
    """Writes what `read_prompt` reads: float32 or bfloat16 [P, text_width]. Raises WeightsError for anything else."""
    _check(str(path), embedding)
    beside = path.with_name(f"{path.name}.partial")
    try:
        save_file({"embedding": embedding.contiguous()}, beside, metadata={"text": text})
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def _from_file(file: Path, text: str | None) -> Prompt:
    stored = read_prompt(file)
    if text not in (None, stored.text):
        raise WeightsError(
            f"{file}: expected the prompt {text!r}, found that of {stored.text!r}; leave the text out, or the file"
        )
    return stored


def preset(text: str | None) -> str | None:
    """The text of a preset where `text` is the name of one, else `text` itself."""
    return None if text is None else PRESETS.get(text, text)


def serves(stored: Prompt | None, text: str | None) -> bool:
    """Whether a stored prompt is taken where `text`, None for any, is asked for."""
    return stored is not None and text in (None, stored.text)


def _from_folder(found: WeightsFolder, text: str | None) -> Prompt:
    stored = read_prompt(found.prompt) if found.prompt is not None else None
    if stored is not None and serves(stored, text):
        return stored
    if found.text_encoder is not None and found.tokenizer is not None:
        return _encoded(PRESETS["train"] if text is None else text, found.text_encoder, found.tokenizer)
    other = "none" if stored is None else f"prompt.safetensors for {stored.text!r}"
    raise WeightsError(
        f"expected prompt.safetensors for {text or 'a prompt'!r}, or models_t5_umt5-xxl-enc-bf16.pth and "
        f"google/umt5-xxl to make it, beside {found.vae}, found {other}; add one of them"
    )


def _encoded(text: str, text_encoder: Path, tokenizer: Path) -> Prompt:
    try:
        # Here, as transformers takes seconds to import and a stored prompt does without it.
        from clear_rt.export.umt5 import embedded
    except ModuleNotFoundError as error:
        raise WeightsError(
            f"{text_encoder}: expected transformers to be installed to encode a prompt, found none ({error}); "
            "pip install 'clear-rt[export]' or add prompt.safetensors"
        ) from error
    return Prompt(text, embedded(text, text_encoder, tokenizer))


def _check(source: str, embedding: Tensor) -> None:
    shape = list(embedding.shape)
    if embedding.dtype not in (torch.float32, torch.bfloat16) or embedding.ndim != 2 or not embedding.numel():
        raise WeightsError(f"{source}: expected float32 or bfloat16 [tokens, width], got {embedding.dtype} {shape}")
    if shape[0] > MAX_TOKENS:
        raise WeightsError(f"{source}: expected at most {MAX_TOKENS} tokens, got {shape[0]}; shorten the prompt")
    if not embedding.isfinite().all():
        raise WeightsError(f"{source}: expected finite numbers, found others; encode the prompt again")
