"""What both sides of test_slim_gpu.py know: the process with torch, and the one without."""

from clear_rt.shapes import Box

START = 3
# An odd corner for content, a crop that begins outside the picture.
BOX = Box(101, 203, 320, 96)
CROP = Box(-16, 190, 352, 144)
# Bits of a sample, and zeros below them.
ALL_BITS = {"nv12": (8, 0), "p010": (10, 6)}
