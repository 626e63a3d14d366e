"""The same work by diffusers' own WanTransformer3DModel and AutoencoderKLWan on the same GPU, set up to be fast.

bfloat16, the LoRA merged (there is none), an untiled VAE, SDPA by whichever backend is fastest, the same region and
windows; without the image branch, whose work CLEAR does not need. `compiled`: the transformer's blocks through
torch.compile, as diffusers offers it.
Random weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch

from clear_rt.bench.network import Window
from clear_rt.shapes import Size

BACKENDS = ("native", "_native_cudnn")
TEXT_TOKENS, TEXT_WIDTH, LATENT_PX = 512, 4096, 8


@dataclass(frozen=True, slots=True)
class BaselineTimes:
    """Seconds of one step of a window, and of coding all frames of a run of one window."""

    step_s: float
    encode_s: float
    decode_s: float
    window: Window
    backend: str

    def fps(self, steps: int) -> float:
        """New frames a second of a steady window: coding counts for these frames alone."""
        share = self.window.new_frames / self.window.frames
        return self.window.new_frames / (steps * self.step_s + share * (self.encode_s + self.decode_s))


@torch.no_grad()
def measure_baseline(size: Size, window: Window, *, compiled: bool = False) -> BaselineTimes:
    """Raises ImportError without diffusers, RuntimeError where memory does not do."""
    step_s, backend = _step_s(size, window, compiled)
    torch.cuda.empty_cache()
    encode_s, decode_s = _coding_s(size, window)
    torch.cuda.empty_cache()
    return BaselineTimes(step_s, encode_s, decode_s, window, backend)


def _step_s(size: Size, window: Window, compiled: bool) -> tuple[float, str]:
    from diffusers import WanTransformer3DModel

    with torch.device("cuda"):
        model = WanTransformer3DModel(
            num_attention_heads=12, attention_head_dim=128, in_channels=48, out_channels=16, ffn_dim=8960, num_layers=30
        )
    model = model.to(torch.bfloat16).eval()
    shape = (1, 48, window.latents, size.height_px // LATENT_PX, size.width_px // LATENT_PX)
    latents = torch.randn(shape, device="cuda", dtype=torch.bfloat16)
    text = torch.randn(1, TEXT_TOKENS, TEXT_WIDTH, device="cuda", dtype=torch.bfloat16)
    timestep = torch.tensor([750], device="cuda")
    found: dict[str, float] = {}
    if compiled:
        model.compile_repeated_blocks(fullgraph=True)
    for backend in BACKENDS[:1] if compiled else BACKENDS:
        try:
            model.set_attention_backend(backend)
            found[backend] = _eager_s(partial(model, latents, timestep, text, return_dict=False))
        except (RuntimeError, ValueError) as why_not:
            print(f"  no figure for diffusers with {backend}: {str(why_not).partition(chr(10))[0][:120]}")
    backend = min(found, key=lambda name: found[name])
    return found[backend], backend


def _coding_s(size: Size, window: Window) -> tuple[float, float]:
    from diffusers import AutoencoderKLWan

    with torch.device("cuda"):
        vae = AutoencoderKLWan()
    vae = vae.to(torch.bfloat16).eval()
    frames = torch.rand(1, 3, window.frames, size.height_px, size.width_px, device="cuda", dtype=torch.bfloat16)
    latents = vae.encode(frames).latent_dist.mode()
    encode_s, decode_s = (
        _eager_s(lambda: vae.encode(frames)),
        _eager_s(lambda: vae.decode(latents)),
    )
    return encode_s, decode_s


def _eager_s(call: Callable[[], object]) -> float:
    """The faster of two runs after a first."""
    call()
    seconds = []
    for _ in range(2):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))  # type: ignore[no-untyped-call]
        begin.record()
        call()
        end.record()
        end.synchronize()
        seconds.append(float(begin.elapsed_time(end)) / 1000)
    return min(seconds)
