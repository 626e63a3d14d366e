"""The bits of a unit's payload, as H.264 and HEVC number them: from the highest of the first byte on."""

from __future__ import annotations


class Bits:
    """Reads forward; past the end there are zeros. `at` is how many bits were read."""

    def __init__(self, data: bytes) -> None:
        self._value = int.from_bytes(data, "big")
        self._length = 8 * len(data)
        self.at = 0

    def number(self, bits: int) -> int:
        """An unsigned number of that many bits: u(n)."""
        self.at += bits
        shift = self._length - self.at
        value = self._value >> shift if shift >= 0 else self._value << -shift
        return value & ((1 << bits) - 1)

    def flag(self) -> bool:
        return bool(self.number(1))

    def unsigned(self) -> int:
        """An Exp-Golomb code: ue(v)."""
        zeros = 0
        while not self.flag():
            zeros += 1
            if self.at > self._length:
                raise ValueError("the unit ends within a number")
        return (1 << zeros) - 1 + self.number(zeros)

    def skip_unsigned(self, count: int) -> None:
        """So many codes, ue(v) or se(v)."""
        for _ in range(count):
            self.unsigned()


def unsigned_code(number: int) -> str:
    """The Exp-Golomb code of `number`, in the digits 0 and 1."""
    digits = f"{number + 1:b}"
    return "0" * (len(digits) - 1) + digits


def replaced(data: bytes, start: int, stop: int, digits: str, length: int) -> bytes:
    """The first `length` bits of `data`, those from `start` to `stop` replaced, then a 1 and zeros to a whole byte."""
    value = int.from_bytes(data, "big")
    text = f"{value:0{8 * len(data)}b}"[:length]
    text = f"{text[:start]}{digits}{text[stop:]}1"
    text += "0" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8, "big")
