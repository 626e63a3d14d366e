"""What `clear-rt fetch` can be told. Nothing heavy: the command line reads the defaults from here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from clear_rt.errors import ConfigError
from clear_rt.models.sources import HubId

WAN = HubId("alibaba-pai/Wan2.1-Fun-V1.1-1.3B-Control")


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchConfig:
    """What is fetched from the hub, and where to.

    The base model's files go into `folder`, those of the LoRA into its folder `lora`; where `folder` is None each goes
    into a folder of its own that the commands find by the repository's name. No repository of CLEAR's LoRA is known,
    so `lora` has no default; `lora_file` names one file of several in it. `text_encoder` adds 11 GB and is needed only
    for prompts that nobody has encoded before.
    """

    weights: HubId = WAN
    lora: HubId | None = None
    lora_file: str | None = None
    folder: Path | None = None
    text_encoder: bool = False

    def __post_init__(self) -> None:
        if self.lora_file is not None and self.lora is None:
            raise ConfigError(f"--lora-file {self.lora_file} is a file of a repository; give that with --lora")
