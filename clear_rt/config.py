"""One frozen dataclass of options per stage. Defaults are written here only; the command line reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from clear_rt.errors import ConfigError
from clear_rt.shapes import Box

RegionMode = Literal["auto", "full", "fixed"]
TextKind = Literal["subtitles", "all"]
CompositeMode = Literal["membrane", "paste", "off"]
FillMode = Literal["model", "membrane"]
Propagation = Literal["both", "past", "off"]
Boxes = Literal["lift", "fill"]
EngineName = Literal["auto", "onnx", "trt", "cuda"]
KernelsName = Literal["auto", "torch", "triton"]
Policy = Literal["paper", "reference", "stream"]
DecoderName = Literal["auto", "cpu", "nvdec"]
EncoderName = Literal["auto", "cpu", "h264_nvenc", "hevc_nvenc", "av1_nvenc"]
# Of x264's scale, where nothing else says how good or how large the result is to be.
DEFAULT_CRF = 16
# Less than a thumbnail takes, and more than any encoder here accepts.
_LEAST_BITRATE, _MOST_BITRATE = 1_000, 2_000_000_000


def _require(condition: bool, sentence: str) -> None:
    if not condition:
        raise ConfigError(sentence)


def _require_one_of(option: str, value: str, names: object) -> None:
    *others, last = get_args(names)
    _require(value in (*others, last), f"--{option} must be {', '.join(others)} or {last}, got {value}")


class TimeSpan(NamedTuple):
    """Microseconds of the video, the end excluded; None is its end."""

    start_us: int
    stop_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionConfig:
    """Where and when text is looked for: everywhere, or inside `boxes` only; at any time, or within `times` only.

    What lies in one of the boxes `keep` is never changed, as a channel's logo. `mask` is a video, or a picture for all
    frames, whose bright pixels are the text: then nothing is looked for.

    `enter_probability` starts a region, `stay_probability` keeps it alive; `min_scans` scans in a row must see text
    before a region exists (clips too short for that many scans need one), and see the same: of the pixels that either
    of two scans takes for text at `stay_probability`, both must take `steady_share`. Subtitles stand still, what the
    scene holds mostly does not. One scan is enough where there is no second one to ask: at either end of the video and
    where frames last longer than `scan_interval_us`; there most of the evidence must reach `enter_probability`. Times
    are in microseconds of the video.

    `text` "subtitles" leaves alone what looks the same for `sign_us`, as logos, score boxes and letters of a still
    scene do, or crawls through one place for as long: it is a sign, and during its time its box is one of `keep`. A
    caption lasts 7 s at most. Of a shorter video nothing can be told, and `boxes` and `mask` say what is text. With
    "all" every overlay goes; of what crawls or rolls only what the maps show to be steady.
    """

    mode: RegionMode = "auto"
    text: TextKind = "subtitles"
    boxes: tuple[Box, ...] = ()
    keep: tuple[Box, ...] = ()
    times: tuple[TimeSpan, ...] = ()
    mask: Path | None = None
    scan_interval_us: int = 200_000
    enter_probability: float = 0.9
    stay_probability: float = 0.35
    min_scans: int = 2
    steady_share: float = 0.65
    bridge_us: int = 600_000
    sign_us: int = 12_000_000
    margin_share: float = 0.09
    multiple_px: int = 16

    def __post_init__(self) -> None:
        _require((self.mode == "fixed") == bool(self.boxes), "region.boxes belong to region.mode='fixed' only")
        for start_us, stop_us in self.times:
            _require(
                start_us >= 0 and (stop_us is None or stop_us > start_us),
                f"region.times must be 0 or later and end after they begin, got {start_us} to {stop_us} us",
            )
        _require(
            0 < self.stay_probability <= self.enter_probability < 1,
            f"region needs 0 < stay_probability <= enter_probability < 1, got {self.stay_probability} and "
            f"{self.enter_probability}",
        )
        _require(0 <= self.steady_share <= 1, f"region.steady_share must be 0..1, got {self.steady_share}")
        _require(self.scan_interval_us > 0, f"region.scan_interval_us must be positive, got {self.scan_interval_us}")
        _require(self.sign_us > 0, f"region.sign_us must be positive, got {self.sign_us}")
        _require_one_of("text", self.text, TextKind)
        _require(0 <= self.margin_share <= 1, f"region.margin_share must be 0..1, got {self.margin_share}")

    @property
    def leaves_signs(self) -> bool:
        """Whether what stays for long is left alone: not where somebody pointed at the text."""
        return self.text == "subtitles" and not self.boxes and self.mask is None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatteConfig:
    """From pictures to a matte. Radii are in pixels of the map (`shapes.outline_size`).

    Where the prior's own map reaches `seen_probability`, and close by, text is outlined (`outlining`): that is the map.

    A pixel belongs to the matte where the map of its own frame exceeds `low_probability`, at least `least_frames` of
    the maps within `reach_frames` exceed `high_probability` (all of them where there are fewer), and one of these maps
    exceeds `sure_probability` close by (`matte.LEAST_NEARBY_PX`). It is then grown by `dilate_px` and faded out over
    `feather_px`.
    """

    seen_probability: float = 0.2
    sure_probability: float = 0.6
    high_probability: float = 0.3
    low_probability: float = 0.1
    reach_frames: int = 3
    least_frames: int = 2
    dilate_px: int = 1
    feather_px: int = 1

    def __post_init__(self) -> None:
        _require(
            0 < self.low_probability <= self.high_probability <= self.sure_probability < 1,
            f"matte needs 0 < low_probability <= high_probability <= sure_probability < 1, got "
            f"{self.low_probability}, {self.high_probability} and {self.sure_probability}",
        )
        _require(0 < self.seen_probability < 1, f"matte.seen_probability must be 0..1, got {self.seen_probability}")
        _require(self.least_frames >= 1, f"matte.least_frames must be >= 1, got {self.least_frames}")
        _require(self.reach_frames >= 0, f"matte.reach_frames must be >= 0, got {self.reach_frames}")
        _require(min(self.dilate_px, self.feather_px) >= 0, "matte.dilate_px and feather_px must be >= 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeConfig:
    """How generated samples meet the source, and what generates them.

    `propagate` says whether what frames before ("past") or before and after ("both") show behind the text is carried
    into the fill, along the picture's motion. `boxes` says whether semi-transparent boxes behind text are taken off
    the picture ("lift") or filled with the text ("fill"). Mode "off" puts generated content in as it is.
    """

    mode: CompositeMode = "membrane"
    fill: FillMode = "membrane"
    propagate: Propagation = "both"
    boxes: Boxes = "lift"

    @property
    def lifts(self) -> bool:
        return self.boxes == "lift" and self.mode != "off"

    @property
    def propagates(self) -> bool:
        return self.propagate != "off" and self.mode != "off"

    def __post_init__(self) -> None:
        _require_one_of("propagate", self.propagate, Propagation)
        _require_one_of("boxes", self.boxes, Boxes)
        _require(
            not (self.fill == "membrane" and self.mode != "membrane"),
            f"--composite {self.mode} needs generated content, and --fill membrane generates none; "
            "leave out --composite or use --fill model",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoiseConfig:
    """How the model's fill is denoised.

    `policy` says how windows are coupled (design, section 5), `steps` is one of the bundle's step counts, its default
    where None. Noise is drawn by `seed`, or for parity runs read from `noise`, a file of float32 [C, L, h, w].
    """

    policy: Policy = "paper"
    steps: int | None = None
    seed: int = 0
    noise: Path | None = None

    def __post_init__(self) -> None:
        _require(self.steps is None or self.steps >= 1, f"--steps must be 1 or more, got {self.steps}")
        _require(0 <= self.seed < 1 << 64, f"--seed must be 0 .. 2**64 - 1, got {self.seed}")


class RawPictures(NamedTuple):
    """Pictures without a header, one after another, in a pixel format by FFmpeg's name."""

    width_px: int
    height_px: int
    pixel_format: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadConfig:
    """What decodes the picture: "auto" is NVDEC where it is seen to give what the CPU gives, else the CPU.

    `rate` is that of raw and of numbered pictures in frames per second, 25 where None; `raw` says how a file without
    a header holds them.
    """

    decoder: DecoderName = "auto"
    rate: Fraction | None = None
    raw: RawPictures | None = None

    def __post_init__(self) -> None:
        _require_one_of("decoder", self.decoder, DecoderName)
        _require(
            self.rate is None or 0 < self.rate <= 1000, f"--rate must be above 0 and at most 1000, got {self.rate}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteConfig:
    """How the picture is encoded where it has to be: `lossless`, else at the quality `crf`, else at `bitrate`.

    `crf` is x264's scale. `bitrate` is the average in bits per second; "auto" is that of the source where its codec is
    kept, and quality `DEFAULT_CRF` where another codec would make something else of the same rate. `encoder` "auto" is
    NVENC where that is seen to work on the source's codec, else the CPU's; lossless is the CPU's. `smart_copy` encodes
    only groups of pictures with text in them and copies the packets of the others, where the codec allows that.
    """

    crf: int | None = None
    bitrate: int | Literal["auto"] = "auto"
    lossless: bool = False
    encoder: EncoderName = "auto"
    smart_copy: bool = False

    def __post_init__(self) -> None:
        _require(self.crf is None or 0 <= self.crf <= 51, f"--crf must be 0..51, got {self.crf}")
        _require(
            self.bitrate == "auto" or _LEAST_BITRATE <= self.bitrate <= _MOST_BITRATE,
            f"--bitrate must be auto or 1k to 2000M, got {self.bitrate} bit/s",
        )
        _require_one_of("encoder", self.encoder, EncoderName)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything `remove` can be told besides the two paths."""

    region: RegionConfig = field(default_factory=RegionConfig)
    matte: MatteConfig = field(default_factory=MatteConfig)
    composite: CompositeConfig = field(default_factory=CompositeConfig)
    read: ReadConfig = field(default_factory=ReadConfig)
    write: WriteConfig = field(default_factory=WriteConfig)
    denoise: DenoiseConfig = field(default_factory=DenoiseConfig)
    engine: EngineName = "auto"
    kernels: KernelsName = "auto"
    bundle: Path | None = None

    def __post_init__(self) -> None:
        _require_one_of("kernels", self.kernels, KernelsName)
        if self.composite.fill == "membrane":
            given = self.denoise
            refuse_model_options(
                steps=given.steps,
                policy=None if given.policy == DenoiseConfig().policy else given.policy,
                noise=given.noise,
            )


def refuse_model_options(**given: object) -> None:
    """Raises ConfigError for options of the model's fill that were given (are not None) where no model runs."""
    for name, value in given.items():
        _require(
            value is None,
            f"--{name} {value} belongs to the model's fill, and --fill membrane runs no model; "
            f"leave out --{name} or use --fill model",
        )
