"""How far our models are from diffusers' with the same random weights, and every exported graph from torch.

`python -m benchmarks.parity`. Relative errors, rms(difference) / rms(reference), fp32, 8 blocks x 256 and a VAE of base
8; the bounds are the issue's. Needs diffusers (`pip install '.[export]'`).
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import torch
from torch import Tensor

from benchmarks.bench_model import bundle
from benchmarks.random_weights import SMALL_DIT, SMALL_VAE, write_random_weights
from benchmarks.report import Row, finish
from clear_rt.bundle import open_bundle
from clear_rt.models import dit_names, vae_names
from clear_rt.models.dit import Dit
from clear_rt.models.vae import Vae
from clear_rt.models.weights import load_dit, load_vae
from clear_rt.models.weights_folder import find_weights
from clear_rt.runtime.onnx import OnnxEngine
from clear_rt.runtime.torch import TorchEngine

DIFFUSERS_LIMIT, GRAPH_LIMIT = 1e-5, 1e-4
TIMESTEPS = (1000.0, 20000 / 21, 5000 / 9)
FRAMES, GRID = 17, (5, 14, 10)


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found.double() - expected.double()).square().mean().sqrt() / expected.double().square().mean().sqrt())


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def row(case: str, metric: str, error: float, bound: float, name: str) -> Row:
    return Row(case=case, metric=metric, value=error * 1e6, unit="1e-6", bound=bound * 1e6, bound_name=name)


def dit_error(ours: Dit) -> float:
    """The worst of three timesteps; diffusers lacks the occlusion head, so its beta is 0 here."""
    c = ours.config
    theirs = diffusers.WanTransformer3DModel(
        num_attention_heads=c.heads, attention_head_dim=c.head_width, in_channels=c.slots * c.latent_channels,
        out_channels=c.latent_channels, text_dim=c.text_width, freq_dim=c.freq_width, ffn_dim=c.ffn_width,
        num_layers=c.layers, eps=c.eps, image_dim=c.image_width, added_kv_proj_dim=c.width,
    ).eval()  # fmt: skip
    names = dit_names.diffusers_names(c)
    state = ours.state_dict()
    theirs.load_state_dict({names[n]: t for n, t in state.items()
                            if not n.startswith(dit_names.REF_CONV) and not dit_names.is_occlusion(n)})  # fmt: skip
    latents, control = drawn(1, 1, c.latent_channels, *GRID), drawn(2, 1, c.latent_channels, *GRID)
    # diffusers' image branch takes the last 512 rows for text.
    text = drawn(3, 1, 512, c.text_width)
    slots, image = torch.cat((latents, control, 0 * latents), 1), torch.zeros(1, c.image_tokens, c.image_width)
    errors = []
    for timestep in torch.split(torch.tensor(TIMESTEPS), 1):
        found = ours(latents, control, timestep, text).velocity
        errors.append(relative(found, theirs(slots, timestep, text, image).sample))
    return max(errors)


def vae_rows(ours: Vae) -> Iterator[Row]:
    c = ours.config
    theirs = diffusers.AutoencoderKLWan(
        base_dim=c.base_width, dim_mult=list(c.multipliers), num_res_blocks=c.res_blocks,
        temperal_downsample=list(c.temporal_down),
    ).eval()  # fmt: skip
    names = vae_names.diffusers_names(c)
    theirs.load_state_dict({names[name]: tensor for name, tensor in ours.state_dict().items()})
    frames = drawn(4, 1, 3, FRAMES, 56, 40).tanh()
    mean, std = torch.tensor((c.latent_means, c.latent_stds))[:, None, :, None, None, None]
    expected = (theirs.encode(frames).latent_dist.mode() - mean) / std
    latents = ours.encode(frames)
    decoded = ours.decode(expected).clamp(-1, 1)
    reference = theirs.decode(expected * std + mean).sample
    case = f"VAE, {FRAMES} frames, diffusers"
    yield row(case, "encode whole", relative(latents, expected), DIFFUSERS_LIMIT, "limit")
    yield row(case, "encode streamed", relative(streamed_latents(ours, frames), expected), DIFFUSERS_LIMIT, "limit")
    yield row(case, "decode whole", relative(decoded, reference), DIFFUSERS_LIMIT, "limit")
    streamed = streamed_frames(ours, expected).clamp(-1, 1)
    yield row(case, "decode streamed", relative(streamed, reference), DIFFUSERS_LIMIT, "limit")


def streamed_latents(vae: Vae, frames: Tensor) -> Tensor:
    caches, found = None, []
    for chunk in (frames[:, :, :1], *torch.split(frames[:, :, 1:], vae.config.latent_frames, 2)):
        latent, caches = vae.encoder_step(chunk, caches)
        found.append(latent)
    return torch.cat(found, 2)


def streamed_frames(vae: Vae, latents: Tensor) -> Tensor:
    caches, found = None, []
    for latent in torch.split(latents, 1, 2):
        frames, caches = vae.decoder_step(latent, caches)
        found.append(frames)
    return torch.cat(found, 2)


def graph_rows(folder: Path) -> Iterator[Row]:
    """Each graph of a bundle against the same step in torch; caches are those of the engine itself."""
    opened = open_bundle(folder)
    onnx, reference = OnnxEngine(opened), TorchEngine(opened)
    frames = drawn(5, 3, 5, 112, 640).tanh().numpy()
    latents, control = drawn(6, 16, 9, 14, 80).numpy(), drawn(7, 16, 9, 14, 80).numpy()
    pairs = []
    for name, call, given in (
        ("encoder", "encode", frames.swapaxes(0, 1)),
        ("decoder", "decode", latents[:, :2].swapaxes(0, 1)),
    ):
        chunks = (given[:1].swapaxes(0, 1), given[1:].swapaxes(0, 1)) if call == "encode" else (given[0], given[1])
        caches = [None, None]
        for when, chunk in zip(("first", "next"), chunks, strict=True):
            made = []
            for i, engine in enumerate((onnx, reference)):
                result, caches[i] = getattr(engine, call)(np.ascontiguousarray(chunk), caches[i])
                made.append(result)
            pairs.append((f"{name}_{when}", *made))
    pairs.append(("control", onnx.control(control).numpy(), reference.control(control).numpy()))
    steps = [engine.velocity(latents, engine.control(control), 9) for engine in (onnx, reference)]
    pairs.append(("step", *steps))
    for role, found, expected in pairs:
        error = relative(torch.from_numpy(found), torch.from_numpy(expected))
        yield row(f"graph {role}, torch", "ONNX Runtime", error, GRAPH_LIMIT, "limit")


@torch.no_grad()
def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        write_random_weights(Path(folder), SMALL_DIT, SMALL_VAE)
        found = find_weights(Path(folder))
        dit, vae = load_dit(found.dit, found.dit_config), load_vae(found.vae, found.vae_config)
    for name, parameter in dit.named_parameters():
        if name.endswith("occlusion_beta"):
            parameter.zero_()
    rows = [row("DiT, 8 x 256, diffusers", "velocity", dit_error(dit), DIFFUSERS_LIMIT, "limit"), *vae_rows(vae)]
    finish("parity", [*rows, *graph_rows(bundle())])


if __name__ == "__main__":
    main()
