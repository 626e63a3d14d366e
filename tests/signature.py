"""A checkpoint's fingerprint: one hash over the names and shapes of all its tensors, not over their values.

Source: reference.md section 0 (the hash by which DiffSynth-Studio tells model files apart).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence


def signature(shapes: Mapping[str, Sequence[int]]) -> str:
    """MD5, as 32 hexadecimal digits, of the shapes by tensor name; the order of the tensors does not matter.

    Per tensor two strings, `name` and `name:d0_d1_...`; all of them sorted together and joined by commas.
    """
    strings = sorted(text for name, shape in shapes.items() for text in (name, f"{name}:{'_'.join(map(str, shape))}"))
    return hashlib.md5(",".join(strings).encode(), usedforsecurity=False).hexdigest()
