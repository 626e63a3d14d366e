"""A VAE's first weights: the best linear codec that its layers can hold, worked out from clips, not learned.

At the start a residual branch adds nothing, so that a coder is a chain of linear layers around one norm and one SiLU.
Going down, every halving keeps the principal components of what it joins; going up, every doubling is the least-squares
inverse. Training then begins at the quality of a block transform instead of spending its first hours on finding one.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from clear_rt.errors import ConfigError
from clear_rt.models.vae import Vae
from clear_rt.models.vae_blocks import PAST_FRAMES, AttentionBlock, CausalConv3d, Head, ResidualBlock, RmsNorm
from clear_rt.models.vae_cache import History
from clear_rt.models.vae_coders import RGB
from clear_rt.models.vae_resample import Downsample, Upsample

# A channel that is constant and larger than the others makes the norm nearly a division by a constant; SiLU is then
# undone by pairs, silu(x) - silu(-x) = x. Larger is more exact and slower to learn from.
ENCODER_CONSTANT, DECODER_CONSTANT = 10.0, 4.0
# Of the channels behind a halving in time: how the second frame differs from the first. The others are means.
CHANGE_SHARE = 0.2
# Rows of weights that carry nothing yet: not zero, or neither side of them would ever get a gradient.
SPARE_GAIN = 0.1
MOST_ROWS = 60_000
RIDGE = 1e-4


class _NoPast(History):
    """The beginning of a run, nothing kept."""

    def __init__(self) -> None:
        super().__init__(None, 0, keep=False)


@torch.no_grad()
def linear_start(vae: Vae, clips: Tensor) -> None:
    """Sets every weight of a VAE from clips [B, 3, 4k + 1, H, W] in [-1, 1], k >= 1.

    Raises ConfigError where the coarsest stage has no room for every latent channel twice and a constant, or what is
    doubled to the finest size for every colour.
    """
    coarsest, finest = vae.config.widths[-1], min(vae.config.widths[0], vae.config.widths[1] // 2)
    for stage, width, values in (("coarsest", coarsest, vae.config.latent_channels), ("finest", finest, RGB)):
        if width <= 2 * values:
            raise ConfigError(
                f"a VAE that starts as a linear codec needs more than {2 * values} channels at its {stage} size, "
                f"got {width}; choose a larger base_width"
            )
    _still(vae)
    _decoder(vae, *_encoder(vae, clips))


def _still(vae: Vae) -> None:
    """Branches that add nothing, layers that pass on what they get, spare rows drawn small."""
    for module in vae.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            nn.init.zeros_(module.bias)
        if isinstance(module, CausalConv3d):
            module.weight[:, :, :PAST_FRAMES] *= SPARE_GAIN
    for module in vae.modules():
        if isinstance(module, ResidualBlock):
            _zero(module.residual[-1])
            if isinstance(module.shortcut, nn.Conv3d):
                _spare(module.shortcut)
                size = min(module.shortcut.weight.shape[:2])
                module.shortcut.weight[:size, :size, 0, 0, 0] = torch.eye(size)
        elif isinstance(module, AttentionBlock):
            _zero(module.proj)


def _encoder(vae: Vae, clips: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The latents of the clips, and the features before each halving: of space and time, finest first."""
    encoder = vae.encoder
    _spare(encoder.conv1)
    encoder.conv1.weight[:RGB] = 0
    encoder.conv1.weight[:RGB, :, PAST_FRAMES, 1, 1] = torch.eye(RGB)
    x, used, kept = encoder.conv1.causal(clips, _NoPast()), RGB, list[Tensor]()
    codes = vae.config.latent_channels
    last = [layer for layer in encoder.downsamples if isinstance(layer, Downsample)][-1]
    for layer in encoder.downsamples:
        if isinstance(layer, Downsample):
            kept.append(x[:, :used])
            conv = layer.resample[1]
            most = codes if layer is last else conv.out_channels
            used = _join_pixels(conv, x, used, most, whiten=layer is last)
            if layer.time_conv is not None:
                frames = torch.cat([layer.resample(x[:, :, t])[:, :, None] for t in range(x.shape[2])], 2)
                kept.append(frames[:, :used])
                _join_frames(layer.time_conv, frames, used)
            if layer is last:
                _mirror(conv, layer.time_conv, codes)
        x = layer(x, _NoPast())
    _constant(encoder.head, [*_norms(encoder.middle), encoder.downsamples[-1]], ENCODER_CONSTANT, codes)
    _identity(vae.conv1, codes)
    _identity(vae.conv2, codes)
    return x[:, :codes], kept


def _decoder(vae: Vae, codes: Tensor, kept: list[Tensor]) -> None:
    decoder = vae.decoder
    used = codes.shape[1]
    _spare(decoder.conv1)
    decoder.conv1.weight[:used] = 0
    decoder.conv1.weight[:used, :, PAST_FRAMES, 1, 1] = torch.eye(used)
    x = decoder.conv1.causal(codes, _NoPast())
    for layer in decoder.upsamples:
        if isinstance(layer, Upsample):
            if layer.time_conv is not None:
                _part_frames(layer.time_conv, x[:, :used], kept.pop())
                x = layer._doubled(layer.time_conv, x, _NoPast())
            conv = layer.resample[1]
            target = kept.pop()[:, : conv.out_channels]
            _part_pixels(conv, x[:, :used], target)
            used = target.shape[1]
            if not kept:
                conv.weight[RGB : 2 * RGB], conv.bias[RGB : 2 * RGB] = -conv.weight[:RGB], -conv.bias[:RGB]
                _always(conv, 2 * RGB, DECODER_CONSTANT)
            pictures = layer.resample(x.transpose(1, 2).flatten(0, 1))
            x = pictures.unflatten(0, (x.shape[0], -1)).transpose(1, 2)
        else:
            x = layer(x, _NoPast())
    _constant(decoder.head, list(decoder.upsamples)[-1 - vae.config.res_blocks :], DECODER_CONSTANT, RGB)


def _join_pixels(conv: nn.Conv2d, x: Tensor, used: int, most: int, *, whiten: bool) -> int:
    """A halving of space that keeps the principal components of 2 x 2 positions; how many there are."""
    frames = x[:, :used].transpose(1, 2).flatten(0, 1)
    blocks = functional.unfold(frames, 2, stride=2).transpose(1, 2).flatten(0, 1)
    centre, basis, deviation = _components(blocks)
    count = min(most, basis.shape[1])
    rows = basis[:, :count].T / (deviation[:count, None] if whiten else 2)
    _spare(conv)
    conv.weight[:count] = 0
    conv.weight[:count, :used, :2, :2] = rows.unflatten(1, (used, 2, 2))
    if whiten:
        conv.bias[:count] = -rows @ centre
    return count


def _join_frames(conv: nn.Conv3d, frames: Tensor, used: int) -> None:
    """A halving of time: means of two frames, and in the last of the channels the strongest changes."""
    earlier, later = frames[:, :used, 1::2], frames[:, :used, 2::2]
    change = ((later - earlier) / 2).transpose(0, 1).flatten(1).T
    changes = max(int(used * CHANGE_SHARE), 1)
    _, basis, _ = _components(change)
    _spare(conv)
    conv.weight[:used] = 0
    for tap, sign in ((1, -0.5), (2, 0.5)):
        conv.weight[: used - changes, :used, tap, 0, 0] = 0.5 * torch.eye(used)[: used - changes]
        conv.weight[used - changes : used, :used, tap, 0, 0] = sign * basis[:, :changes].T


def _mirror(pixels: nn.Conv2d, frames: nn.Conv3d | None, codes: int) -> None:
    """Channels codes..2 codes are the negatives of those before, and the next one is constant."""
    mirrored = slice(codes, 2 * codes)
    pixels.weight[mirrored], pixels.bias[mirrored] = -pixels.weight[:codes], -pixels.bias[:codes]
    _always(pixels, 2 * codes, ENCODER_CONSTANT)
    if frames is not None:
        frames.weight[mirrored], frames.bias[mirrored] = -frames.weight[:codes], -frames.bias[:codes]
        _always(frames, 2 * codes, ENCODER_CONSTANT)


def _part_frames(conv: nn.Conv3d, x: Tensor, target: Tensor) -> None:
    """A doubling of time, from this and the two latents before, to the frames that were joined."""
    later = functional.pad(x[:, :, 1:], (0, 0, 0, 0, PAST_FRAMES, 0))
    count, used, width = x.shape[2] - 1, x.shape[1], conv.out_channels // 2
    taps = torch.cat([later[:, :, t : t + count] for t in range(PAST_FRAMES + 1)], 1)
    wanted = torch.cat((target[:, :used, 1::2], target[:, :used, 2::2]), 1)
    weight, bias = _least_squares(*(t.transpose(0, 1).flatten(1).T for t in (taps, wanted)))
    _spare(conv)
    for half in range(2):
        rows, found = slice(half * width, half * width + used), slice(half * used, (half + 1) * used)
        conv.weight[rows] = 0
        conv.weight[rows, :used, :, 0, 0] = weight[found].unflatten(1, (PAST_FRAMES + 1, used)).transpose(1, 2)
        conv.bias[rows] = bias[found]


def _part_pixels(conv: nn.Conv2d, x: Tensor, target: Tensor) -> None:
    """The convolution behind a doubling of space, to what stood before the halving."""
    used, wanted = x.shape[1], target.shape[1]
    near = functional.interpolate(x.transpose(1, 2).flatten(0, 1), scale_factor=2.0)
    seen = functional.unfold(near, 3, padding=1).transpose(1, 2).flatten(0, 1)
    truth = target.transpose(1, 2).flatten(0, 1).flatten(2).transpose(1, 2).flatten(0, 1)
    weight, bias = _least_squares(seen, truth)
    _spare(conv)
    conv.weight[:wanted] = 0
    conv.weight[:wanted, :used] = weight.unflatten(1, (used, 3, 3))
    conv.bias[:wanted] = bias


def _constant(head: Head, layers: Iterable[nn.Module], constant: float, codes: int) -> None:
    """A head that takes pairs apart again, and norms that do not shrink what stands beside the constant."""
    norm, last = head[0], head[-1]
    assert isinstance(norm, RmsNorm)
    assert isinstance(last, CausalConv3d)
    for module in [norm, *(n for layer in layers for n in _norms(layer))]:
        if len(module.gamma) == len(norm.gamma):
            module.gamma.fill_(constant / len(module.gamma) ** 0.5)
    _spare(last)
    last.weight[:codes] = 0
    last.weight[:codes, :codes, PAST_FRAMES, 1, 1] = torch.eye(codes)
    last.weight[:codes, codes : 2 * codes, PAST_FRAMES, 1, 1] = -torch.eye(codes)


def _norms(layer: nn.Module) -> list[RmsNorm]:
    """The first norm of each block, which sees the trunk."""
    if isinstance(layer, RmsNorm):
        return [layer]
    if isinstance(layer, ResidualBlock):
        return [layer.residual[0]]
    if isinstance(layer, AttentionBlock):
        return [layer.norm]
    return [norm for child in layer.children() for norm in _norms(child)]


def _components(rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean [D], principal components [D, D] in columns, strongest first, and deviations [D] of rows [N, D]."""
    centre = rows.mean(0)
    spread = (rows - centre).double()
    values, vectors = torch.linalg.eigh(spread.T @ spread / len(rows))
    return centre, vectors.flip(1).float(), values.flip(0).clamp_min(1e-8).sqrt().float()


def _least_squares(seen: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """weight [E, D] and bias [E] for rows seen [N, D] and wanted [N, E]."""
    chosen = torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))[:MOST_ROWS]
    seen, wanted = seen[chosen].double(), wanted[chosen].double()
    centre, aim = seen.mean(0), wanted.mean(0)
    product = (seen - centre).T @ (seen - centre) / len(seen)
    product += RIDGE * product.diagonal().mean() * torch.eye(len(product), dtype=product.dtype)
    weight = torch.linalg.solve(product, (seen - centre).T @ (wanted - aim) / len(seen)).T
    return weight.float(), (aim - weight @ centre).float()


def _always(conv: nn.Module, channel: int, value: float) -> None:
    conv.weight[channel] = 0
    conv.bias[channel] = value


def _identity(conv: nn.Conv3d, count: int) -> None:
    _zero(conv)
    conv.weight[:count, :count, 0, 0, 0] = torch.eye(count)


def _spare(conv: nn.Module) -> None:
    conv.weight.mul_(SPARE_GAIN)


def _zero(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
