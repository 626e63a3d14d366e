"""clear_rt: burned-in subtitles out of video, without masks. `clear_rt.remove("in.mp4", "out.mp4")`."""

from clear_rt.version import __version__

__all__ = ["__version__"]
