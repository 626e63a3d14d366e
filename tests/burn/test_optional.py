"""Without Pillow, `burn` is one sentence, and nothing else of the package needs it."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

BURN = """
import sys
sys.modules["PIL"] = None
from pathlib import Path
from clear_rt.burn.video import burn
from clear_rt.errors import ConfigError
try:
    burn(Path("a.mp4"), Path("b.mp4"))
except ConfigError as error:
    print(error)
"""
EVALUATE = """
import sys
sys.modules["{package}"] = None
import clear_rt.metrics.evaluate
from clear_rt.errors import ConfigError
from clear_rt.metrics.text import TextFinder
try:
    TextFinder()
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("code", "package"),
    [
        (BURN, "Pillow"),
        (EVALUATE.format(package="rapidocr_onnxruntime"), "rapidocr-onnxruntime"),
    ],
)
def test_a_missing_package_is_one_sentence(code, package):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert package in done.stdout
    assert "pip install 'clear-rt[eval]'" in done.stdout
    assert done.stdout.count("\n") == 1
