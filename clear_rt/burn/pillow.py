"""Pillow, which the [eval] extra installs; importing this module without it is a ConfigError."""

from __future__ import annotations

from clear_rt.errors import ConfigError

try:
    from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont, features
except ImportError as error:
    raise ConfigError("drawing text needs Pillow, which is not installed; run pip install 'clear-rt[eval]'") from error

__all__ = ["Image", "ImageChops", "ImageDraw", "ImageFilter", "ImageFont", "features"]
