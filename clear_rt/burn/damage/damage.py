"""One description of what a video went through, by name or drawn by seed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from clear_rt.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """Applied in the order of the fields; the defaults change nothing.

    `grain` is the standard deviation of film grain in levels of 255. `scale` is the size the picture was brought down
    to before it was brought up again. Of every `cadence` frames the first `combed` hold the odd rows of the frame
    before. `jpeg` is the quality of a JPEG of every frame. `codec` ("h264", "hevc", "mpeg2", "mpeg4") is the one at
    the end, at `rate`: a CRF for the first two, a quantiser for the others. `gop` is its frames from key to key.
    """

    grain: float = 0.0
    scale: float = 1.0
    combed: int = 0
    cadence: int = 5
    jpeg: int | None = None
    codec: str | None = None
    rate: int = 23
    gop: int = 48

    @property
    def changes_anything(self) -> bool:
        return self != replace(Damage(), cadence=self.cadence, rate=self.rate, gop=self.gop)


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the value of a name may be, what it usually is, and the field that it sets."""

    field: str
    lowest: float
    highest: float
    usual: tuple[float, float]


CODECS = {
    "h264": _Kind("rate", 0, 51, (14, 36)),
    "hevc": _Kind("rate", 0, 51, (16, 38)),
    "mpeg2": _Kind("rate", 1, 31, (2, 14)),
    "mpeg4": _Kind("rate", 1, 31, (2, 10)),
}
_OTHERS = {
    "grain": _Kind("grain", 0.1, 64, (2, 9)),
    "scaled": _Kind("scale", 0.1, 0.99, (0.4, 0.8)),
    "interlaced": _Kind("combed", 1, 5, (2, 5)),
    "jpeg": _Kind("jpeg", 1, 100, (20, 75)),
}
KINDS = CODECS | _OTHERS
# How often each codec ends the chain of `random_damage`, and how often each of the others comes before it.
_CODEC_SHARES = {"h264": 0.58, "hevc": 0.15, "mpeg2": 0.14, "mpeg4": 0.13}
_BESIDES = {"grain": 0.15, "scaled": 0.15, "interlaced": 0.08, "jpeg": 0.08}


def parse_damage(text: str, seed: int) -> Damage:
    """ "none", "any" (drawn by seed), or names with or without a value, such as "scaled=0.5,h264=32"; a value that is
    not given is drawn by seed.

    Raises:
        ConfigError: an unknown name, a value that is no number or out of range, or two codecs.
    """
    rng = np.random.default_rng([seed, len(text)])
    if text in ("none", "any"):
        return Damage() if text == "none" else random_damage(rng)
    damage = Damage()
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        kind = KINDS.get(name)
        if kind is None:
            raise ConfigError(f"damage must be none, any or of {', '.join(KINDS)}, got {name!r}")
        if name in CODECS and damage.codec is not None:
            raise ConfigError(f"a video is damaged by one codec, got {damage.codec} and {name}; name one of them")
        damage = _with(damage, name, kind, _value(name, kind, value) if value else _usual(kind, rng))
    return damage


def random_damage(rng: np.random.Generator, harshest: float = 1.0) -> Damage:
    """What a subtitled video found somewhere went through: always a codec, now and then more before it.

    `harshest` (0..1) is how far into its usual range a codec's rate may go, from the best quality on.
    """
    name = str(rng.choice(list(_CODEC_SHARES), p=list(_CODEC_SHARES.values())))
    low, high = KINDS[name].usual
    rate = low + harshest * (high - low) * float(rng.random())
    damage = _with(Damage(gop=int(rng.integers(12, 97))), name, KINDS[name], rate)
    for other, share in _BESIDES.items():
        if rng.random() < share:
            damage = _with(damage, other, KINDS[other], _usual(KINDS[other], rng))
    return damage


def _value(name: str, kind: _Kind, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not kind.lowest <= value <= kind.highest:
        raise ConfigError(f"damage {name} takes {kind.lowest:g} to {kind.highest:g}, got {text!r}")
    return value


def _usual(kind: _Kind, rng: np.random.Generator) -> float:
    return float(rng.uniform(*kind.usual))


def _with(damage: Damage, name: str, kind: _Kind, value: float) -> Damage:
    number = value if kind.field in ("grain", "scale") else round(value)
    values = {field: getattr(damage, field) for field in Damage.__slots__} | {kind.field: number}
    return Damage(**(values | ({"codec": name} if name in CODECS else {})))
