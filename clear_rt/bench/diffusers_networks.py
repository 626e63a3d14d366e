"""diffusers' own WanTransformer3DModel and AutoencoderKLWan with random weights, timed at one size.

bfloat16; the image branch, whose work CLEAR does not need, is left out. Speed does not depend on what weights say.
torch and diffusers are imported when something is made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from clear_rt.bench.device import release, settle
from clear_rt.errors import EngineError

if TYPE_CHECKING:
    from torch import device as Device

    from clear_rt.bench.network import Window
    from clear_rt.bench.work_dit import DitShape
    from clear_rt.models.vae_config import VaeConfig
    from clear_rt.shapes import Size

BACKENDS = ("native", "_native_cudnn")
TEXT_TOKENS, TEXT_WIDTH, FREQ_WIDTH = 512, 4096, 256
TIMESTEP = 750
# CLEAR's (reference.md 2).
LORA_RANK = 64
LORA_LINEARS = (
    *(f"{attention}.{name}" for attention in ("attn1", "attn2") for name in ("to_q", "to_k", "to_v", "to_out.0")),
    "ffn.net.0.proj",
    "ffn.net.2",
)


def transformer_of(dit: DitShape, device: Device, *, adapted: bool = False) -> Any:  # noqa: ANN401 - diffusers'
    """Noise, control and start image in, as Wan2.1-Fun-Control has it; `adapted`: with a LoRA that is not merged."""
    import torch
    from diffusers import WanTransformer3DModel

    with torch.device(device):
        model = WanTransformer3DModel(
            num_attention_heads=dit.heads,
            attention_head_dim=dit.head_width,
            in_channels=3 * dit.latent_channels,
            out_channels=dit.latent_channels,
            text_dim=TEXT_WIDTH,
            freq_dim=FREQ_WIDTH,
            ffn_dim=dit.ffn_width,
            num_layers=dit.layers,
            eps=dit.eps,
        )
    if adapted:
        from peft import LoraConfig

        model.add_adapter(LoraConfig(r=LORA_RANK, target_modules=list(LORA_LINEARS)))
    return model.to(device, torch.bfloat16).requires_grad_(False).eval()


def vae_of(vae: VaeConfig, device: Device, *, tiled: bool = False) -> Any:  # noqa: ANN401 - diffusers' model
    """`tiled`: in the tiles that diffusers sets by itself."""
    import torch
    from diffusers import AutoencoderKLWan

    with torch.device(device):
        model = AutoencoderKLWan(
            base_dim=vae.base_width,
            z_dim=vae.latent_channels,
            dim_mult=list(vae.multipliers),
            num_res_blocks=vae.res_blocks,
            temperal_downsample=list(vae.temporal_down),
            latents_mean=list(vae.latent_means),
            latents_std=list(vae.latent_stds),
            scale_factor_temporal=vae.latent_frames,
            scale_factor_spatial=vae.latent_px,
        )
    if tiled:
        model.enable_tiling()
    return model.to(device, torch.bfloat16).requires_grad_(False).eval()


def step_seconds(
    model: Any,  # noqa: ANN401 - of `transformer_of`
    dit: DitShape,
    grid: tuple[int, int, int],
    runs: int,
    *,
    compiled: bool = False,
) -> tuple[float, str]:
    """One step of a window of latents x rows x columns by the fastest attention that runs, and the name of that.

    `compiled`: its blocks through torch.compile, as diffusers offers it. Raises EngineError, which says why, where none
    runs, and torch's error where memory does not do.
    """
    import torch

    like = {"device": model.device, "dtype": torch.bfloat16}
    latents = torch.randn((1, 3 * dit.latent_channels, *grid), **like)
    text = torch.randn((1, TEXT_TOKENS, TEXT_WIDTH), **like)
    timestep = torch.tensor([TIMESTEP], device=model.device)

    if compiled:
        model.compile_repeated_blocks(fullgraph=True)
    found: dict[str, float] = {}
    reasons: list[str] = []
    try:
        for backend in BACKENDS:
            try:
                model.set_attention_backend(backend)
                found[backend] = seconds_of(partial(model, latents, timestep, text, return_dict=False), runs)
            except torch.OutOfMemoryError:
                raise
            except (RuntimeError, ValueError) as error:
                reasons.append(f"{backend}: {' '.join(str(error).split())[:120]}")
    finally:
        # diffusers hands the last one on to every model of the process.
        model.set_attention_backend(BACKENDS[0])
    if not found:
        raise EngineError(f"diffusers' transformer runs with none of its kinds of attention ({'; '.join(reasons)})")
    backend = min(found, key=found.__getitem__)
    return found[backend], backend


def coding_seconds(model: Any, size: Size, window: Window, runs: int) -> tuple[float, float]:  # noqa: ANN401 - vae_of
    """Encoding and decoding all frames of a run of one window."""
    import torch

    frames = torch.rand((1, 3, window.frames, size.height_px, size.width_px), device=model.device, dtype=torch.bfloat16)
    latents = model.encode(frames).latent_dist.mode()
    encode_s = seconds_of(lambda: model.encode(frames), runs)
    release()
    return encode_s, seconds_of(lambda: model.decode(latents), runs)


def seconds_of(call: Callable[[], object], runs: int) -> float:
    """The median of so many calls after a first, each to the end of what it gave the GPU."""
    wait = settle()
    call()
    wait()
    seconds = []
    for _ in range(runs):
        begun = perf_counter()
        call()
        wait()
        seconds.append(perf_counter() - begun)
    return median(seconds)
