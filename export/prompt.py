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
MAX_TOKENS = 512


@dataclass(frozen=True, slots=True)
class Prompt:
    """`embedding` [P, text_width], float32 or bfloat16, finite, P <= 512: real tokens, the end of sentence included."""

    text: str
    embedding: Tensor = field(repr=False)


def prompt_for(found: WeightsFolder, text: str | None = None) -> Prompt:
    """The prompt of a weights folder: prompt.safetensors if it holds `text` or that is None, else encoded anew.

    None means P_TRAIN where it has to be encoded. Raises WeightsError where neither is possible.
    """
    stored = read_prompt(found.prompt) if found.prompt is not None else None
    if stored is not None and text in (None, stored.text):
        prompt = stored
    elif found.text_encoder is not None and found.tokenizer is not None:
        wanted = P_TRAIN if text is None else text
        prompt = _encoded(wanted, found.text_encoder, found.tokenizer)
    else:
        other = "none" if stored is None else f"prompt.safetensors for {stored.text!r}"
        raise WeightsError(
            f"expected prompt.safetensors for {text or 'a prompt'!r}, or models_t5_umt5-xxl-enc-bf16.pth and "
            f"google/umt5-xxl to make it, beside {found.vae}, found {other}; add one of them"
        )
    if len(prompt.embedding) > found.dit_config.text_tokens:
        raise WeightsError(
            f"expected a prompt of at most {found.dit_config.text_tokens} tokens, found {len(prompt.embedding)} beside "
            f"{found.vae}; shorten it"
        )
    if prompt.embedding.shape[1] != found.dit_config.text_width:
        raise WeightsError(
            f"expected a prompt embedding {found.dit_config.text_width} wide, found {prompt.embedding.shape[1]} beside "
            f"{found.vae}; make it with the text encoder of this model"
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
