"""What is installed is what is in the checkout: rooms, bundles, version, extras."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import clear_rt

ROOMS = ("kernels", "export")
STAND_ALONE = {"tensorrt": "tensorrt", "rtx": "tensorrt-rtx-cu13", "pycuda": "pycuda"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def archives(root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[set[str], set[str]]:
    """Member names of the wheel and of the sdist, built from a copy that has one more module in each room."""
    copy = tmp_path_factory.mktemp("build") / "tree"
    copy.mkdir()
    ignore = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in ("clear_rt", *ROOMS):
        shutil.copytree(root / name, copy / name, symlinks=True, ignore=ignore)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(root / name, copy / name)
    for room in ROOMS:
        (copy / room / "probe_of_packaging.py").write_text("")
    command = [sys.executable, "-m", "build", "--no-isolation", "--sdist", "--wheel", "--outdir", "dist", "."]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    with zipfile.ZipFile(next((copy / "dist").glob("*.whl"))) as wheel:
        in_wheel = set(wheel.namelist())
    with tarfile.open(next((copy / "dist").glob("*.tar.gz"))) as sdist:
        in_sdist = {member.name.partition("/")[2] for member in sdist if member.isfile()}
    return in_wheel, in_sdist


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_is_a_relative_link_without_init(root: Path, room: str):
    link = root / "clear_rt" / room
    assert os.readlink(link) == f"../{room}"
    assert link.resolve() == root / room
    assert not (root / room / "__init__.py").exists()


def test_version_is_written_once(root: Path, project: dict):
    assert "version" not in project
    assert project["dynamic"] == ["version"]
    assert re.fullmatch(r'__version__ = "\d+\.\d+\.\d+"\n', (root / "clear_rt" / "version.py").read_text())
    assert clear_rt.__version__ in (root / "CHANGELOG.md").read_text()


def test_libraries_that_need_a_gpu_stand_alone(project: dict):
    extras = project["optional-dependencies"]
    for extra, requirements in {"core": project["dependencies"], **extras}.items():
        for requirement in map(Requirement, requirements):
            pulled_in = requirement.extras if requirement.name == "clear-rt" else set()
            assert not pulled_in & STAND_ALONE.keys(), extra
            # TensorRT-RTX builds engines without a GPU, so that the tests do.
            if extra not in STAND_ALONE and (extra, requirement.name) != ("dev", STAND_ALONE["rtx"]):
                assert not requirement.name.startswith(("tensorrt", "pycuda")), extra
    # cuda-bindings imports on any machine; the slim runtime drives the GPU by it.
    assert {extra: [Requirement(r).name for r in extras[extra]] for extra in STAND_ALONE} == {
        extra: [package, "cuda-bindings"] for extra, package in STAND_ALONE.items()
    }


def test_core_is_what_the_slim_runtime_needs(project: dict):
    needed = {"numpy", "onnxruntime", "av", "opencv-python-headless", "typer", "rich"}
    assert {Requirement(r).name for r in project["dependencies"]} == needed


def test_torch_is_pinned_to_versions_that_were_tried(project: dict):
    for extra, requirements in project["optional-dependencies"].items():
        for requirement in map(Requirement, requirements):
            if requirement.name in ("torch", "triton"):
                expected = {"torch": "<2.14,>=2.11", "triton": "<3.9,>=3.6"}[requirement.name]
                assert str(requirement.specifier) == expected, extra


def test_archives_hold_every_module(root: Path, archives: tuple[set[str], set[str]]):
    package = root / "clear_rt"
    modules = {path.relative_to(root).as_posix() for path in package.rglob("*.py")}
    modules |= {f"clear_rt/{room}/{path.relative_to(root / room).as_posix()}" for room in ROOMS
                for path in (root / room).rglob("*.py")}  # fmt: skip
    modules |= {f"clear_rt/{room}/probe_of_packaging.py" for room in ROOMS}
    for members in archives:
        assert modules <= members


def test_archives_hold_bundles_typing_mark_and_licence(root: Path, archives: tuple[set[str], set[str]]):
    bundles = {p.relative_to(root).as_posix() for p in (root / "clear_rt" / "bundles").rglob("*") if p.is_file()}
    assert "clear_rt/bundles/clear-tiny/manifest.json" in bundles
    wheel, sdist = archives
    for members in archives:
        assert bundles | {"clear_rt/py.typed"} <= members
    assert {"LICENSE", "NOTICE"} <= sdist
    folder = f"clear_rt-{clear_rt.__version__}.dist-info"
    assert {f"{folder}/licenses/LICENSE", f"{folder}/licenses/NOTICE", f"{folder}/entry_points.txt"} <= wheel


def test_wheel_holds_nothing_but_the_package(archives: tuple[set[str], set[str]]):
    folder = f"clear_rt-{clear_rt.__version__}.dist-info/"
    assert {name for name in archives[0] if not name.startswith(("clear_rt/", folder))} == set()
    assert {name for name in archives[0] if "__pycache__" in name} == set()
