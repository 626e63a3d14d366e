"""Font files for each script: the ones that the [eval] extra installs, then whatever Noto the machine has."""

from __future__ import annotations

import importlib.util
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from clear_rt.errors import ConfigError

_PACKAGES = ("cvttf_NotoSansCJK_Regular", "fontpkg_noto_sans", "fontpkg_noto_sans_arabic")
_FOLDERS = ("/usr/share/fonts", "/usr/local/share/fonts", "~/.fonts", "~/.local/share/fonts")
_SUFFIXES = {".ttf", ".ttc", ".otf"}

_CJK = (
    "NotoSansCJK-Regular",
    "NotoSansCJK-Bold",
    "NotoSansCJK-Black",
    "NotoSerifCJK-Regular",
    "NotoSerifCJK-Bold",
    "NotoSansCJKtc-Regular",
)
_LATIN = (
    "NotoSans[wdth,wght]",
    "NotoSans-Regular",
    "NotoSans-Bold",
    "NotoSerif-Regular",
    "NotoSerif-Bold",
    "NotoSans-Italic",
    "NotoSansMono-Regular",
)
_ARABIC = (
    "NotoSansArabic[wdth,wght]",
    "NotoSansArabic-Regular",
    "NotoSansArabic-Bold",
    "NotoNaskhArabic-Regular",
    "NotoNaskhArabic-Bold",
)
_HEBREW = ("NotoSansHebrew-Regular", "NotoSansHebrew-Bold", "NotoSerifHebrew-Regular", "NotoSerifHebrew-Bold")
_THAI = ("NotoSansThai-Regular", "NotoSansThai-Bold", "NotoSerifThai-Bold", "NotoLoopedThai-Regular")
_DEVANAGARI = ("NotoSansDevanagari-Regular", "NotoSansDevanagari-Bold", "NotoSerifDevanagari-Regular")
_STEMS = {
    "zh": _CJK,
    "ja": _CJK,
    "ko": _CJK,
    "en": _LATIN,
    "ru": _LATIN,
    "ar": _ARABIC,
    "zh-hant": _CJK,
    "el": (*_LATIN, "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif"),
    "he": (*_HEBREW, "DejaVuSans", "DejaVuSans-Bold"),
    "th": _THAI,
    "hi": (*_DEVANAGARI, "NotoSans[wdth,wght]"),
    "vi": (*_LATIN, "DejaVuSans", "DejaVuSans-Bold", "DejaVuSerif"),
}
# Faces inside the .ttc collections of Debian's fonts-noto-cjk: 0 JP, 1 KR, 2 SC, 3 TC, 4 HK.
_FACE = {"ja": 0, "ko": 1, "zh": 2, "zh-hant": 3}


@dataclass(frozen=True, slots=True)
class FontFace:
    """A font file and, for a collection, the face inside it."""

    path: Path
    index: int = 0


@cache
def _installed() -> dict[str, Path]:
    found: dict[str, Path] = {}
    specs = [importlib.util.find_spec(name) for name in _PACKAGES]
    package_folders = [Path(place) for spec in specs if spec for place in spec.submodule_search_locations or ()]
    folders = [Path(os.path.expanduser(name)) for name in _FOLDERS]
    for folder in (*folders, *package_folders):
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.suffix.lower() in _SUFFIXES:
                found[path.stem] = path
    return found


@cache
def installed_faces(script: str) -> tuple[FontFace, ...]:
    """Every known face that covers `script`, a key of ALL_SCRIPTS; empty where none is installed."""
    installed = _installed()
    return tuple(
        FontFace(installed[stem], _FACE.get(script, 0) if installed[stem].suffix.lower() == ".ttc" else 0)
        for stem in _STEMS[script]
        if stem in installed
    )


def faces_for(script: str) -> tuple[FontFace, ...]:
    """Every known face that covers `script`, a key of ALL_SCRIPTS.

    Raises:
        ConfigError: no such font is installed.
    """
    faces = installed_faces(script)
    if not faces:
        raise ConfigError(
            f"no font for script {script!r} was found; pip install 'clear-rt[eval]' brings one for most scripts, "
            "Debian's fonts-noto-core for all, or give --font FILE"
        )
    return faces
