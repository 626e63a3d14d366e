"""Other numbers for the parameter sets of x265, which has no option for that, and for the slices that refer to them.

Only what x265 writes is understood. Whatever else stands there ends in a ValueError: of a slice every field is read,
and right behind the last there must be the bits that end a header.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from clear_rt.frames.nal import HEVC, unescaped
from clear_rt.frames.segments.bits import Bits, replaced, unsigned_code

_VPS = 32
_HEADER_BYTES = 2
_ESCAPABLE = re.compile(b"\0\0(?=[\0-\3])")
_IDR = (19, 20)
_P, _I = 1, 2
_MOST_SETS = {_VPS: 16, HEVC.sps: 16, HEVC.pps: 64}
# A slice's header: a few numbers, and as many bytes for every row of blocks, of which 8K has 68.
_MOST_SLICE_HEADER_BYTES = 2048


def free_number(sets: Iterable[bytes]) -> int | None:
    """A number that none of the parameter sets has, whichever kind it is; None where there is none below 16."""
    taken = {number_of(unit) for unit in sets if HEVC.kind(unit) in HEVC.sets}
    return next((number for number in range(min(_MOST_SETS.values())) if number not in taken), None)


def number_of(unit: bytes) -> int:
    """The number of a parameter set."""
    kind, bits = HEVC.kind(unit), Bits(unescaped(unit)[_HEADER_BYTES:])
    if kind == _VPS:
        return bits.number(4)
    if kind == HEVC.sps:
        _skip_to_sps_number(bits)
    return bits.unsigned()


def renumbered_set(unit: bytes, number: int) -> bytes:
    """A parameter set that has `number`, as have those that it refers to."""
    kind, payload = HEVC.kind(unit), unescaped(unit)
    head, body = payload[:_HEADER_BYTES], payload[_HEADER_BYTES:]
    if kind in (_VPS, HEVC.sps):
        body = bytes([number << 4 | body[0] & 0x0F]) + body[1:]
    if kind == _VPS:
        return head + _escaped(body)
    bits = Bits(body)
    digits = unsigned_code(number)
    if kind == HEVC.sps:
        _skip_to_sps_number(bits)
    else:
        digits += digits
    start = bits.at
    bits.skip_unsigned(1 if kind == HEVC.sps else 2)
    return head + _escaped(replaced(body, start, bits.at, digits, _length_without_end(body)))


class _Sps(NamedTuple):
    poc_bits: int
    has_chroma: bool
    sao: bool
    temporal_mvp: bool


class _Pps(NamedTuple):
    output_flag: bool
    extra_bits: int
    cabac_init: bool
    references: tuple[int, int]
    chroma_qp_offsets: bool
    entry_points: bool
    across_slices: bool
    deblocking_override: bool
    deblocking_disabled: bool
    extension: bool


class SliceNumbers:
    """Gives slices that belong to the sets `units` the number of those after `renumbered_set`. Raises ValueError."""

    def __init__(self, units: Iterable[bytes], number: int) -> None:
        by_kind = {HEVC.kind(unit): Bits(unescaped(unit)[_HEADER_BYTES:]) for unit in units}
        self._sps, self._pps = _read_sps(by_kind[HEVC.sps]), _read_pps(by_kind[HEVC.pps])
        self._digits = unsigned_code(number)

    def renumbered(self, unit: bytes) -> bytes:
        """The same unit where it is no slice."""
        kind = HEVC.kind(unit)
        if kind > 31:
            return unit
        payload = unescaped(unit)
        head, body = payload[:_HEADER_BYTES], payload[_HEADER_BYTES:]
        start_bytes = body[:_MOST_SLICE_HEADER_BYTES]
        bits = Bits(start_bytes)
        if not bits.flag():
            raise ValueError("a picture has several slices")
        if 16 <= kind <= 23:
            bits.flag()
        start = bits.at
        bits.unsigned()
        stop = bits.at
        self._skip_rest(bits, kind)
        length = bits.at
        if not bits.flag() or bits.number(-bits.at % 8):
            raise ValueError("a slice's header does not end where it should")
        header = replaced(start_bytes, start, stop, self._digits, length)
        return head + _escaped(header + body[bits.at // 8 :])

    def _skip_rest(self, bits: Bits, kind: int) -> None:
        sps, pps = self._sps, self._pps
        bits.number(pps.extra_bits)
        slice_type = bits.unsigned()
        if pps.output_flag:
            bits.flag()
        temporal_mvp = False
        if kind not in _IDR:
            bits.number(sps.poc_bits)
            if bits.flag():
                raise ValueError("a slice refers to pictures by a list in the SPS")
            _skip_references(bits)
            temporal_mvp = sps.temporal_mvp and bits.flag()
        sao = [bits.flag() for _ in range(1 + sps.has_chroma)] if sps.sao else []
        if slice_type != _I:
            self._skip_prediction(bits, slice_type, temporal_mvp)
        bits.skip_unsigned(3 if pps.chroma_qp_offsets else 1)
        deblocking_disabled = pps.deblocking_disabled
        if pps.deblocking_override and bits.flag():
            deblocking_disabled = bits.flag()
            bits.skip_unsigned(0 if deblocking_disabled else 2)
        if pps.across_slices and (any(sao) or not deblocking_disabled):
            bits.flag()
        if pps.entry_points and (count := bits.unsigned()):
            bits.number(count * (bits.unsigned() + 1))
        if pps.extension:
            bits.number(8 * bits.unsigned())

    def _skip_prediction(self, bits: Bits, slice_type: int, temporal_mvp: bool) -> None:
        lists = 1 if slice_type == _P else 2
        counts = list(self._pps.references)
        if bits.flag():
            counts[:lists] = [bits.unsigned() for _ in range(lists)]
        if lists == 2:
            bits.flag()
        if self._pps.cabac_init:
            bits.flag()
        if temporal_mvp:
            which = 0 if lists == 1 or bits.flag() else 1
            bits.skip_unsigned(1 if counts[which] > 0 else 0)
        bits.unsigned()


def _read_sps(bits: Bits) -> _Sps:
    if _skip_to_sps_number(bits):
        raise ValueError("the SPS has several layers")
    bits.unsigned()
    chroma_format = bits.unsigned()
    if chroma_format == 3 and bits.flag():
        raise ValueError("the SPS has separate planes")
    bits.skip_unsigned(2)
    bits.skip_unsigned(4 if bits.flag() else 0)
    bits.skip_unsigned(2)
    poc_bits = bits.unsigned() + 4
    bits.flag()
    bits.skip_unsigned(3 + 6)
    if bits.flag():
        raise ValueError("the SPS has scaling lists")
    bits.flag()
    sao = bits.flag()
    if bits.flag():
        bits.number(8)
        bits.skip_unsigned(2)
        bits.flag()
    if bits.unsigned() or bits.flag():
        raise ValueError("the SPS has lists of pictures")
    return _Sps(poc_bits, chroma_format != 0, sao, bits.flag())


def _read_pps(bits: Bits) -> _Pps:
    bits.skip_unsigned(2)
    if bits.flag():
        raise ValueError("the PPS has dependent slices")
    output_flag, extra_bits = bits.flag(), bits.number(3)
    bits.flag()
    cabac_init = bits.flag()
    references = bits.unsigned(), bits.unsigned()
    bits.unsigned()
    bits.number(2)
    bits.skip_unsigned(1 if bits.flag() else 0)
    bits.skip_unsigned(2)
    chroma_qp_offsets = bits.flag()
    if bits.number(2):
        raise ValueError("the PPS has weighted prediction")
    bits.flag()
    if bits.flag():
        raise ValueError("the PPS has tiles")
    entry_points, across_slices = bits.flag(), bits.flag()
    override = disabled = False
    if bits.flag():
        override, disabled = bits.flag(), bits.flag()
        bits.skip_unsigned(0 if disabled else 2)
    if bits.number(2):
        raise ValueError("the PPS has scaling lists or changes the order of pictures")
    bits.unsigned()
    return _Pps(
        output_flag, extra_bits, cabac_init, references, chroma_qp_offsets, entry_points, across_slices, override,
        disabled, bits.flag(),
    )  # fmt: skip


def _skip_references(bits: Bits) -> None:
    for _ in range(bits.unsigned() + bits.unsigned()):
        bits.unsigned()
        bits.flag()


def _skip_to_sps_number(bits: Bits) -> int:
    """Returns how many sub-layers there are besides the first."""
    bits.number(4)
    more_layers = bits.number(3)
    bits.number(1 + 96)
    if more_layers:
        present = [(bits.flag(), bits.flag()) for _ in range(8)][:more_layers]
        bits.number(sum(88 * profile + 8 * level for profile, level in present))
    return more_layers


def _length_without_end(body: bytes) -> int:
    """How many bits stand before the last 1, which ends a parameter set."""
    value = int.from_bytes(body, "big")
    return 8 * len(body) - (value & -value).bit_length()


def _escaped(payload: bytes) -> bytes:
    return _ESCAPABLE.sub(b"\0\0\3", payload)
