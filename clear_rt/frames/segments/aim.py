"""How many bits a segment may take: as many as the source spends on the same frames, or a given multiple of that."""

from __future__ import annotations

from dataclasses import replace

import av

from clear_rt.config import WriteConfig
from clear_rt.frames.encoder_options import aims_at_rate
from clear_rt.frames.info import VideoInfo
from clear_rt.frames.segments.source_packets import SourcePackets, source_packets

# What replaces the text may need more than the still picture it stood on, and every segment begins with a whole one.
_LEAST_SHARE = 0.25
# What `WriteConfig` takes.
_LEAST_BITS_PER_S, _MOST_BITS_PER_S = 1_000, 2_000_000_000
# The headers of MPEG-2 state the rate; of NVENC nobody has seen that they stay the same when that changes.
_STEADY = ("mpeg2video", "h264_nvenc", "hevc_nvenc", "av1_nvenc")


class Aim:
    """The options of `config` for every segment that `encoder` makes of `info`. Raises InputError: damaged source.

    `bits_per_s` is the average over the video, None where the quality decides; `most_bits_per_s` that of the segment
    with most.
    """

    def __init__(self, info: VideoInfo, config: WriteConfig, encoder: str) -> None:
        self._config = config
        self._packets: SourcePackets | None = None
        self._share = 1.0
        self.bits_per_s: int | None = None
        follows = config.bitrate == "auto" and av.codec.Codec(encoder, "w").canonical_name == info.codec
        if config.lossless or config.crf is not None or not (follows or aims_at_rate(config)):
            return
        packets = source_packets(info)
        if not packets.bits_per_s:
            return
        self.bits_per_s = _possible(packets.bits_per_s if config.bitrate == "auto" else config.bitrate)
        if encoder not in _STEADY:
            self._packets, self._share = packets, self.bits_per_s / packets.bits_per_s

    def of(self, start_frame: int, stop_frame: int | None) -> WriteConfig:
        """What to encode these frames with; None: to the end."""
        if self.bits_per_s is None:
            return self._config
        if self._packets is None:
            return replace(self._config, bitrate=self.bits_per_s)
        bits_per_s = self._share * self._packets.between(start_frame, stop_frame)
        return replace(self._config, bitrate=_possible(max(bits_per_s, _LEAST_SHARE * self.bits_per_s)))

    def most(self, segment_frames: int) -> WriteConfig:
        """The largest of what `of` gives for segments of that many frames, wherever they begin."""
        if self._packets is None:
            return self.of(0, None)
        count = len(self._packets.sizes_bytes)
        step = max(1, segment_frames // 4)
        # Shorter segments, which smart copy makes, may ask for more: twice is the next level, and that is no harm.
        return max((self.of(start, start + step) for start in range(0, count, step)), key=lambda one: int(one.bitrate))


def _possible(bits_per_s: float) -> int:
    """What a source may have, pictures that stand for hours or noise without loss, is not always what may be asked."""
    return round(min(max(bits_per_s, _LEAST_BITS_PER_S), _MOST_BITS_PER_S))
