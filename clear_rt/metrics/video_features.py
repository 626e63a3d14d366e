"""Features of snippets of video, for VFID: the Frechet distance of I3D features (Wang et al. 2018).

The network is a TorchScript file that the user gives; none comes with clear_rt, and VFID is only what its authors mean
if it is I3D trained on Kinetics. It takes float32 [1, 3, T, H, W], RGB in 0..1 at the video's own size, does its own
scaling, and returns the features of the whole snippet, of any shape as long as it is always the same. An I3D in torch
becomes such a file by `torch.jit.trace(network, torch.zeros(1, 3, 16, 224, 224)).save("i3d.pt")`, with the scaling and
the choice of the layer inside. Published figures differ in all of that: compare only what one file has measured.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from clear_rt.errors import WeightsError
from clear_rt.metrics.backbone import device, exact
from clear_rt.metrics.frechet import FeatureSum

UInt8 = npt.NDArray[np.uint8]
SNIPPET_FRAMES = 16


class VideoBackbone:
    """The network, loaded once. Raises WeightsError where the file is no TorchScript."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise WeightsError(f"{path}: expected a TorchScript file, found none; check the path")
        try:
            with warnings.catch_warnings():
                # That TorchScript is no longer developed is no matter of the user's; its files are still read.
                warnings.simplefilter("ignore", DeprecationWarning)
                load: Any = torch.jit.load
                self._network: Any = load(str(path), map_location=device()).eval()
        except (RuntimeError, ValueError, OSError) as error:
            said = " ".join(str(error).split())[:120]
            raise WeightsError(
                f"{path}: expected a TorchScript file, found something else ({said}); save the network by "
                "torch.jit.trace(...).save"
            ) from error

    def __call__(self, snippet: UInt8) -> npt.NDArray[np.float64]:
        """Features float64 [D] of uint8 [T, H, W, 3]. Raises WeightsError where the network does not take it."""
        pictures = torch.from_numpy(np.ascontiguousarray(snippet.transpose(3, 0, 1, 2)))[None]
        try:
            with exact():
                found = self._network(pictures.to(device()).float() / 255)
            features: npt.NDArray[np.float64] = found.detach().cpu().double().numpy().ravel()
        except (RuntimeError, AttributeError) as error:
            said = " ".join(str(error).split())[-160:]
            shape = tuple(pictures.shape)
            raise WeightsError(f"{self.path}: expected a network for float32 {shape}, but it failed: {said}") from error
        if not np.isfinite(features).all():
            raise WeightsError(f"{self.path}: its features hold NaN or infinity; give another network")
        return features


class SnippetSum:
    """Cuts a clip into snippets of 16 frames, one after the other, and adds up their features.

    What is left at the end is dropped, unless the clip is shorter than one snippet.
    """

    def __init__(self, backbone: VideoBackbone) -> None:
        self._backbone, self._held = backbone, list[UInt8]()
        self._sum = FeatureSum()

    def add(self, rgb: UInt8) -> None:
        """The next frame, uint8 [H, W, 3]."""
        self._held.append(rgb)
        if len(self._held) == SNIPPET_FRAMES:
            self._flush()

    def result(self) -> FeatureSum:
        """Of all snippets; to be asked once, at the end."""
        if self._held and not self._sum.count:
            self._flush()
        return self._sum

    def _flush(self) -> None:
        self._sum.add(self._backbone(np.stack(self._held)))
        self._held.clear()
