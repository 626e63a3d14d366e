"""Real formats, each made here: what a file of it has, and what a removal makes of it (docs/FORMATS.md)."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.packet import Packet
from av.stream import Disposition

from clear_rt.config import RawPictures, ReadConfig
from clear_rt.frames.layout import layout_to_write
from clear_rt.frames.sequence import PICTURES
from clear_rt.frames.views import component_views
from tests.frames.moving import QUIET, moving_picture

FRAMES = 12
TEXT_FRAMES = range(4, 8)
# Text, mask and what may change lie in the middle, in shares of the picture: so they do however it is turned.
TEXT, MASK = (Fraction(3, 8), Fraction(5, 8)), (Fraction(1, 3), Fraction(2, 3))
# The same of one frame of 8K, which is text all the time.
TEXT_8K, MASK_8K = (Fraction(31, 64), Fraction(33, 64)), (Fraction(15, 32), Fraction(17, 32))
FAST = {"preset": "ultrafast", "crf": "12"}
VP9 = {"deadline": "realtime", "cpu-used": "8"}
AV1 = {"preset": "12", "crf": "30", "svtav1-params": "log=0"}
MASTERING = "master-display=G(13250,34500)B(7500,3000)R(34000,16000)WP(15635,16450)L(10000000,50)"
HDR10 = {"preset": "ultrafast", "x265-params": f"log-level=none:{MASTERING}:max-cll=1000,400"}
CHAPTERS: list[dict[str, Any]] = [
    {"id": 1, "start": 0, "end": 200, "time_base": Fraction(1, 1000), "metadata": {"title": "Anfang"}},
    {"id": 2, "start": 200, "end": 480, "time_base": Fraction(1, 1000), "metadata": {"title": "終"}},
]
FONT = bytes(range(256)) * 3
CAPTIONS = [bytes((0xFC, 0x94, 0x2C + index)) for index in range(FRAMES)]

Feed = Callable[[], None]
Add = Callable[[Any], Feed | None]


@dataclass(frozen=True, slots=True)
class Case:
    """One format, and what becomes of it.

    `shows` says what the file has, `proves` names the `facts` that a plain file has otherwise. `becomes` is the codec
    of the result. `loses` names the facts that differ afterwards, `says` what the user is told of that. `refused` is
    the sentence where there is no result. `read` is what the file does not say itself.
    """

    shows: str
    suffix: str
    codec: str
    pixel_format: str = "yuv420p"
    size: tuple[int, int] = (96, 64)
    options: dict[str, str] = field(default_factory=dict)
    becomes: str | None = None
    target: str | None = None
    says: tuple[str, ...] = ()
    loses: tuple[str, ...] = ()
    refused: str | None = None
    frames: int = FRAMES
    stamps: tuple[int, ...] = ()
    time_base: Fraction = Fraction(1, 25)
    setup: Callable[[Any], None] | None = None
    add: tuple[Add, ...] = ()
    captions: bool = False
    proves: tuple[str, ...] = ()
    read: ReadConfig = field(default_factory=ReadConfig)

    def source(self, folder: Path) -> Path:
        """Where the file is made, and the numbered pictures in a folder of their own."""
        return _within(folder / "in", self.suffix)

    def result(self, folder: Path) -> Path:
        return _within(folder / "out", self.target or self.suffix)

    @property
    def is_8k(self) -> bool:
        return self.frames < FRAMES

    @property
    def text_frames(self) -> range:
        return range(1) if self.is_8k else TEXT_FRAMES

    @property
    def name(self) -> str:
        return f"{self.suffix} {self.codec} {self.pixel_format} {self.size[0]}x{self.size[1]}: {self.shows}"


def _within(place: Path, suffix: str) -> Path:
    return place / f"%04d.{suffix}" if f".{suffix}" in PICTURES else place.with_suffix(f".{suffix}")


def between(shares: tuple[Fraction, Fraction], height: int, width: int) -> tuple[slice, slice]:
    """Rows and columns of a picture."""
    start, stop = shares
    return slice(int(height * start), int(height * stop)), slice(int(width * start), int(width * stop))


def make(case: Case, path: Path) -> Path:
    """The video of `case`: moving waves, in the middle of some frames white strokes."""
    os.environ.setdefault("SVT_LOG", "0")
    path.parent.mkdir(exist_ok=True)
    beyond_8_bits = {"strict": "-1"} if case.suffix == "y4m" else {}
    with av.open(str(path), "w", container_options=beyond_8_bits) as container:
        stream: Any = container.add_stream(case.codec, rate=25, options=case.options)
        stream.width, stream.height = case.size
        stream.pix_fmt, stream.codec_context.time_base = case.pixel_format, case.time_base
        if case.setup:
            case.setup(stream)
        feeds = [feed for add in case.add if (feed := add(container))]
        for index in range(case.frames):
            picture = _picture(case, index)
            picture.pts, picture.time_base = case.stamps[index] if case.stamps else index, case.time_base
            container.mux([_captioned(packet, case) for packet in stream.encode(picture)])
        container.mux([_captioned(packet, case) for packet in stream.encode(None)])
        for feed in feeds:
            feed()
    return path


def _picture(case: Case, index: int) -> av.VideoFrame:
    layout = layout_to_write(case.pixel_format)
    assert layout is not None
    brightest = (1 << layout.bits) - 1
    if case.is_8k:
        picture = av.VideoFrame(*case.size, case.pixel_format)
        for view in component_views(picture, layout, writable=True):
            view[...] = brightest // 2
    else:
        picture = moving_picture(case.pixel_format, *case.size, index)
    if index in case.text_frames:
        for component, view in zip(layout.components, component_views(picture, layout, writable=True), strict=True):
            if component.kind in ("luma", "rgb"):
                strokes = view[between(TEXT_8K if case.is_8k else TEXT, *view.shape)]
                strokes[:, ::4] = strokes[:, 1::4] = brightest << layout.shift
    return picture


def make_mask(path: Path, case: Case) -> Path:
    """Where and when there is text in the video of `case`."""
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 96, 96, "gray"
        for index in range(case.frames):
            shown = np.zeros((96, 96), np.uint8)
            if index in case.text_frames:
                shown[between(MASK_8K if case.is_8k else MASK, 96, 96)] = 255
            picture = av.VideoFrame.from_ndarray(shown, "gray")
            picture.pts, picture.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _captioned(packet: Any, case: Case) -> Any:
    """The packet of H.264 with closed captions of its own in front, as a message of the user's (A53 part 4)."""
    if not case.captions:
        return packet
    data = CAPTIONS[round(packet.pts * packet.time_base * 25)]
    payload = b"\xb5\x00\x31GA94\x03" + bytes((0x40 | len(data) // 3, 0xFF)) + data + b"\xff"
    message = b"\x06\x04" + bytes((len(payload),)) + payload + b"\x80"
    whole = Packet(b"\0\0\0\1" + message + bytes(packet))
    whole.pts, whole.dts, whole.time_base, whole.duration = packet.pts, packet.dts, packet.time_base, packet.duration
    whole.is_keyframe, whole.stream = packet.is_keyframe, packet.stream
    return whole


def sound(codec: str = "aac", language: str = "deu", disposition: int = 0) -> Add:
    """A stream of seeded noise as long as the pictures."""

    def add(container: Any) -> Feed:
        stream = container.add_stream(codec, rate=48000)
        stream.metadata["language"], stream.disposition = language, disposition
        taken = [one.name for one in stream.codec_context.codec.audio_formats]
        form = stream.codec_context.format = next(name for name in ("fltp", "flt", "s16") if name in taken)

        def feed() -> None:
            rng = np.random.default_rng(len(language) + ord(language[0]))
            samples = stream.codec_context.frame_size or 960
            for index in range(480 * 48 // samples):
                noise = rng.normal(0, 0.1, (2, samples))
                array = (noise * 32767).astype(np.int16) if form == "s16" else noise.astype(np.float32)
                if not form.endswith("p"):
                    array = np.ascontiguousarray(array.T).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(array, format=form, layout="stereo")
                frame.sample_rate, frame.pts, frame.time_base = 48000, index * samples, Fraction(1, 48000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))

        return feed

    return add


def keys(container: Any) -> Feed:
    """A stream of data, as from a camera in the air."""
    stream = container.add_mux_stream("klv", time_base=Fraction(1, 90_000))

    def feed() -> None:
        for index in range(3):
            packet = Packet(bytes((6, 14, 43, 52, index)) * 8)
            packet.pts = packet.dts = 14_400 * index
            packet.time_base, packet.stream = Fraction(1, 90_000), stream
            container.mux(packet)

    return feed


def lines(codec: str, disposition: int = 0, begin: bytes = b"") -> Add:
    """Three lines of text."""

    def add(container: Any) -> Feed:
        stream = container.add_mux_stream(codec, time_base=Fraction(1, 1000))
        stream.metadata["language"], stream.disposition = "eng", disposition

        def feed() -> None:
            for index in range(3):
                packet = Packet(begin + f"line {index}".encode())
                packet.pts = packet.dts = 150 * index
                packet.duration, packet.time_base, packet.stream = 100, Fraction(1, 1000), stream
                container.mux(packet)

        return feed

    return add


def chapters(container: Any) -> None:
    container.set_chapters(CHAPTERS)


def titled(container: Any) -> None:
    container.metadata.update({"title": "Prüfung 終", "comment": "a 'quoted' \"word\""})


def font(container: Any) -> None:
    container.add_attachment("font.ttf", "application/x-truetype-font", FONT)


def cover(container: Any) -> Feed:
    stream = container.add_stream("mjpeg", rate=1)
    stream.width, stream.height, stream.pix_fmt = 16, 16, "yuvj420p"
    stream.disposition = Disposition.attached_pic
    picture = av.VideoFrame(16, 16, "yuvj420p")
    picture.pts = 0
    return lambda: container.mux([*stream.encode(picture), *stream.encode(None)])


def colour(color_range: int, primaries: int, transfer: int, matrix: int) -> Callable[[Any], None]:
    def setup(stream: Any) -> None:
        context = stream.codec_context
        context.color_range, context.color_primaries, context.color_trc = color_range, primaries, transfer
        context.colorspace = matrix

    return setup


def shaped(stream: Any) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(4, 3)


def turned(degrees: int) -> Callable[[Any], None]:
    return lambda stream: stream.set_display_rotation(-degrees)


def mirrored(stream: Any) -> None:
    stream.set_display_matrix((-1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30))


def stamped(stream: Any) -> None:
    stream.metadata["timecode"] = "01:02:03:04"


X264_FIELDS = {"flags": "+ildct+ilme", **FAST, "x264-params": "tff=1"}
MPEG2_FIELDS = {"flags": "+ildct+ilme", "q": "2"}
VFR = (0, 700, 1100, 2400, 2500, 9000, 9300, 12000, 12100, 12600, 15000, 15020)
LATE = tuple(64_000 + 512 * index for index in range(FRAMES))


def raw(width_px: int, height_px: int, pixel_format: str) -> ReadConfig:
    return ReadConfig(raw=RawPictures(width_px, height_px, pixel_format))


JPEG = {"qmin": "2", "qmax": "2"}
INTO_ANOTHER = ("container", "streams", "dispositions", "tags", "packets")
AVI = FAST | {"bf": "0"}
X265 = QUIET | {"preset": "ultrafast"}
THREE_SOUNDS = (
    sound("aac", "deu", Disposition.default),
    sound("libopus", "eng", Disposition.comment),
    sound("flac", "fra", Disposition.visual_impaired),
)
ASS = lines("ass", begin=b"0,0,Default,,0,0,0,,")
MOV_TEXT = lines("mov_text", begin=b"\0\6")
LATE_START = {"stamps": LATE, "time_base": Fraction(1, 12_800), "add": (sound(),), "proves": ("times", "packets")}

CASES = (
    Case("no sound", "mp4", "libx264", options=FAST),
    Case("10 bit, 4:2:2", "mov", "libx264", "yuv422p10le", options=FAST, proves=("bit depth",)),
    Case("4:4:4", "mkv", "libx264", "yuv444p", options=FAST),
    Case("sound", "ts", "libx264", options=FAST, add=(sound(),)),
    *(
        Case(f"{codec} sound", "avi", "libx264", options=AVI, add=(sound(codec),))
        for codec in ("aac", "ac3", "mp3", "pcm_s16le")
    ),
    Case("sound", "flv", "libx264", options=FAST, add=(sound(),)),
    Case("sound", "nut", "libx264", options=FAST, add=(sound(),)),
    Case("sound", "3gp", "libx264", options=FAST, add=(sound(),)),
    Case("B-frames", "mp4", "libx265", options=QUIET | {"preset": "fast"}),
    Case(
        "10 bit, HDR10",
        "mp4",
        "libx265",
        "yuv420p10le",
        options=HDR10,
        setup=colour(1, 9, 16, 9),
        proves=("HDR10", "colour", "bit depth"),
    ),
    Case("12 bit, 4:2:2", "mkv", "libx265", "yuv422p12le", options=X265, proves=("bit depth",)),
    Case("12 bit, 4:4:4", "mov", "libx265", "yuv444p12le", options=X265, proves=("bit depth",)),
    Case("sound", "webm", "libvpx-vp9", options=VP9, add=(sound("libopus"),)),
    Case("no sound", "webm", "libsvtav1", options=AV1),
    Case("10 bit", "mp4", "libsvtav1", "yuv420p10le", options=AV1, becomes="h264", proves=("bit depth",)),
    Case("numbered pictures", "png", "png", "rgb24", proves=("container", "colour")),
    Case("numbered pictures, 16 bit", "png", "png", "rgb48be", (95, 63), proves=("bit depth", "size")),
    Case("numbered pictures with alpha", "png", "png", "rgba"),
    Case("numbered pictures, grey", "png", "png", "gray16be", proves=("bit depth",)),
    Case("numbered pictures, 16 bit", "tif", "tiff", "rgb48le", proves=("bit depth",)),
    Case("numbered pictures, 10 bit", "dpx", "dpx", "gbrp10le", proves=("bit depth",)),
    Case("numbered pictures, 12 bit", "dpx", "dpx", "gbrp12le", (95, 63), proves=("bit depth", "size")),
    Case("numbered pictures", "bmp", "bmp", "bgr24"),
    Case("numbered pictures", "tga", "targa", "bgr24"),
    Case("numbered pictures", "jpg", "mjpeg", "yuvj420p", options=JPEG, refused="losslessly encoded"),
    Case(
        "numbered pictures for another file", "png", "png", "rgb24", target="mkv", becomes="h264", loses=("container",)
    ),
    Case("no other container", "mp4", "libx264", options=FAST, target="png", refused="cannot hold yuv420p"),
    Case("YUV4MPEG2", "y4m", "rawvideo"),
    Case("YUV4MPEG2, 10 bit, 4:2:2", "y4m", "rawvideo", "yuv422p10le", (95, 63), proves=("bit depth", "size")),
    Case("no header", "yuv", "rawvideo", "yuv420p", (95, 63), read=raw(95, 63, "yuv420p"), proves=("size",)),
    Case("no header, 10 bit", "yuv", "rawvideo", "p010le", read=raw(96, 64, "p010le"), proves=("bit depth",)),
    Case("no header, RGB", "rgb", "rawvideo", "rgb24", read=raw(96, 64, "rgb24")),
    Case(
        "no header, for MP4",
        "yuv",
        "rawvideo",
        read=raw(96, 64, "yuv420p"),
        target="mp4",
        becomes="h264",
        loses=("container", "dispositions", "tags"),
    ),
    Case("10 bit", "mkv", "ffv1", "yuv422p10le", proves=("bit depth",)),
    Case("grey", "mkv", "ffv1", "gray"),
    Case("grey, 10 bit", "mkv", "ffv1", "gray10le", proves=("bit depth",)),
    Case("RGB", "mkv", "ffv1", "bgr0"),
    Case("RGB, 12 bit", "mkv", "ffv1", "gbrp12le", proves=("bit depth",)),
    Case("alpha", "mkv", "ffv1", "yuva420p"),
    Case("RGB with alpha", "avi", "ffv1", "bgra"),
    Case("sound", "ts", "mpeg2video", options={"q": "2"}, becomes="h264", add=(sound("mp2"),)),
    Case("motion JPEG", "avi", "mjpeg", "yuvj420p", options={"q": "2"}, becomes="h264", proves=("colour",)),
    Case("ProRes 422 HQ", "mov", "prores_ks", "yuv422p10le", becomes="h264", proves=("bit depth",)),
    Case(
        "interlaced ProRes",
        "mov",
        "prores_ks",
        "yuv422p10le",
        options={"flags": "+ildct"},
        becomes="h264",
        proves=("fields", "bit depth"),
    ),
    Case(
        "ProRes 4444, alpha",
        "mov",
        "prores_ks",
        "yuva444p10le",
        options={"profile": "4444"},
        refused="give the output the extension .mkv",
    ),
    Case(
        "ProRes 4444, alpha, for MKV",
        "mov",
        "prores_ks",
        "yuva444p10le",
        options={"profile": "4444"},
        becomes="ffv1",
        target="mkv",
        loses=("container",),
        proves=("bit depth",),
    ),
    Case("DNxHR HQ", "mov", "dnxhd", "yuv422p", (256, 128), {"profile": "dnxhr_hq"}, becomes="h264"),
    Case("not compressed", "avi", "rawvideo", becomes="h264"),
    Case("not compressed, packed", "mov", "rawvideo", "uyvy422", becomes="h264"),
    Case(
        "a broadcaster's file",
        "mxf",
        "mpeg2video",
        options={"q": "2"},
        becomes="h264",
        target="mov",
        loses=INTO_ANOTHER,
    ),
    Case("a broadcaster's file", "mxf", "mpeg2video", "yuv422p", options={"q": "2"}, becomes="h264", loses=("tags",)),
    Case("portrait", "mp4", "libx264", size=(64, 96), options=FAST, proves=("size",)),
    *(
        Case(f"turned by {a}", "mp4", "libx264", options=FAST, setup=turned(a), proves=("turn",))
        for a in (90, 180, 270)
    ),
    Case("mirrored", "mkv", "libx264", options=FAST, setup=mirrored, proves=("turn",)),
    Case("odd size", "mkv", "ffv1", size=(95, 63), proves=("size",)),
    Case("odd size", "mp4", "libx264", "yuv444p", (95, 63), FAST, proves=("size",)),
    Case("odd size", "webm", "libvpx-vp9", size=(95, 63), options=VP9, proves=("size",)),
    Case("144p", "mp4", "libx264", size=(256, 144), options=FAST, proves=("size",)),
    Case("8K", "mp4", "libx264", size=(7680, 4320), options=FAST, frames=1, proves=("size",)),
    Case("pixel shape 4:3", "mp4", "libx264", options=FAST, setup=shaped, proves=("pixel shape",)),
    Case("pixel shape 4:3", "mp4", "libvpx-vp9", options=VP9, setup=shaped, proves=("pixel shape",)),
    Case("BT.601, full range", "mp4", "libx264", options=FAST, setup=colour(2, 6, 6, 6), proves=("colour",)),
    Case("BT.2020, HLG", "mkv", "libx265", "yuv420p10le", options=QUIET, setup=colour(1, 9, 18, 9), proves=("colour",)),
    Case("interlaced", "mp4", "libx264", options=X264_FIELDS, proves=("fields",)),
    Case("interlaced", "mkv", "mpeg2video", options=MPEG2_FIELDS, becomes="h264", proves=("fields",)),
    Case(
        "frames of different length",
        "mp4",
        "libx264",
        options=FAST,
        stamps=VFR,
        time_base=Fraction(1, 12_800),
        proves=("times",),
    ),
    *(Case("late start, sound", suffix, "libx264", options=FAST, **LATE_START) for suffix in ("mp4", "mov", "mkv")),
    Case(
        "3 sounds",
        "mkv",
        "libx264",
        options=FAST,
        add=THREE_SOUNDS,
        proves=("streams", "packets", "dispositions"),
    ),
    Case(
        "3 sounds",
        "mp4",
        "libx264",
        options=FAST,
        add=(sound(), sound("ac3", "eng"), sound("aac", "fra")),
        proves=("streams", "packets"),
    ),
    Case(
        "texts, font, chapters, tags",
        "mkv",
        "libx264",
        options=FAST,
        add=(lines("subrip", Disposition.forced), ASS, font, chapters, titled),
        proves=("streams", "dispositions", "packets", "attachments", "chapters", "tags"),
    ),
    Case(
        "timed text, chapters, tags",
        "mp4",
        "libx264",
        options=FAST,
        add=(sound(), MOV_TEXT, chapters, titled),
        proves=("streams", "packets", "chapters", "tags"),
    ),
    Case(
        "text, font",
        "mkv",
        "libx264",
        options=FAST,
        add=(sound(), lines("subrip"), font),
        target="mp4",
        loses=(*INTO_ANOTHER, "attachments"),
        says=("(subtitle, subrip) was left out", "(attachment, font.ttf) was left out"),
    ),
    Case("data", "ts", "libx264", options=AVI, add=(keys,), proves=("streams", "packets")),
    Case(
        "cover art", "mp4", "libx264", options=FAST, add=(sound(), cover), proves=("streams", "packets", "dispositions")
    ),
    Case("time code", "mov", "libx264", options=FAST, setup=stamped, proves=("tags",)),
    Case("closed captions", "mkv", "libx264", options=FAST, captions=True, proves=("captions",)),
    Case("closed captions", "ts", "libx264", options=AVI, captions=True, proves=("captions",)),
)
