"""Who may import whom, read from the source, and what an import may do, tried in fresh interpreters."""

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

# Not part of the slim runtime: they may need the extras at module level, so nothing slim may import them there.
HEAVY_ROOMS = (
    "clear_rt.models",
    "clear_rt.burn",
    "clear_rt.metrics",
    "clear_rt.kernels",
    "clear_rt.export",
    "clear_rt.runtime.cuda",
    "clear_rt.runtime.torch",
    "clear_rt.runtime.torch_networks",
)
FORBIDDEN = {"torch", "triton", "diffusers", "transformers", "peft", "modelopt", "PIL", "tensorrt",
             "tensorrt_rtx", "pycuda", "rapidocr_onnxruntime", "onnx", "onnxscript", "safetensors",
             "huggingface_hub", "httpx2"}  # fmt: skip
OUTSIDE = ("benchmarks", "tests", "training", "samples")
BOTTOM = {"clear_rt.shapes", "clear_rt.errors", "clear_rt.config", "clear_rt.version"}
HOME_ONLY = {
    "av": ("clear_rt.frames",),
    "cv2": ("clear_rt.motion", "clear_rt.grid", "clear_rt.propagation", "clear_rt.veils", "clear_rt.metrics"),
    "triton": ("clear_rt.kernels",),
    "tensorrt": ("clear_rt.runtime", "clear_rt.export"),
    "tensorrt_rtx": ("clear_rt.runtime", "clear_rt.export"),
    "pycuda": ("clear_rt.runtime",),
}


class Import(NamedTuple):
    """One imported module by its full name; `eager` where importing the file imports it too."""

    name: str
    eager: bool


def within(module: str, rooms: tuple[str, ...]) -> bool:
    return any(module == room or module.startswith(f"{room}.") for room in rooms)


def _guarded(node: ast.AST) -> bool:
    """`if TYPE_CHECKING:` is never true at run time."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def _imports(node: ast.AST, modules: set[str], eager: bool = True) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (Import(alias.name, eager) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, "imports are absolute"
            yield Import(child.module or "", eager)
            names = (f"{child.module}.{alias.name}" for alias in child.names)
            yield from (Import(name, eager) for name in names if name in modules)
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield from _imports(child, modules, False)
        elif _guarded(child):
            # What types need does not run, yet it says who knows whom.
            yield from _imports(child, modules, False)
        else:
            yield from _imports(child, modules, eager)


@pytest.fixture(scope="module")
def graph(root: Path) -> dict[str, set[Import]]:
    """Every module of the package, rooms behind links included, with what it imports."""
    files = {}
    for folder, prefix in (("clear_rt", "clear_rt"), ("kernels", "clear_rt.kernels"), ("export", "clear_rt.export")):
        for path in (root / folder).rglob("*.py"):
            parts = path.relative_to(root / folder).with_suffix("").parts
            files[".".join((prefix, *(part for part in parts if part != "__init__")))] = path
    modules = set(files)
    return {name: set(_imports(ast.parse(path.read_text()), modules)) for name, path in files.items()}


def _loaded_by(module: str, graph: dict[str, set[Import]], *, parents: bool = True) -> set[str]:
    """Everything that importing `module` imports; with `parents`, what its packages' own files import as well."""
    loaded: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in loaded:
            continue
        loaded.add(name)
        packages = [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]
        waiting += [package for package in packages if parents and package in graph]
        waiting += [imported.name for imported in graph.get(name, ()) if imported.eager]
    return loaded


def test_slim_runtime_loads_no_heavy_library(graph: dict[str, set[Import]]):
    found = {
        module: heavy
        for module in graph
        if not within(module, HEAVY_ROOMS)
        and (heavy := {name for name in _loaded_by(module, graph) if name.split(".")[0] in FORBIDDEN})
    }
    assert found == {}


def test_libraries_stay_in_their_rooms(graph: dict[str, set[Import]]):
    found = {
        (module, imported.name)
        for module, imports in graph.items()
        for imported in imports
        for library, rooms in HOME_ONLY.items()
        if within(imported.name, (library,)) and not within(module, rooms)
    }
    assert found == set()


def test_nothing_imports_the_command_line_or_what_is_not_installed(graph: dict[str, set[Import]]):
    found = {
        (module, imported.name)
        for module, imports in graph.items()
        for imported in imports
        if within(imported.name, OUTSIDE)
        or (within(imported.name, ("clear_rt.cli",)) and module not in ("clear_rt.cli", "clear_rt.__main__"))
    }
    assert found == set()


def test_bottom_knows_only_itself(graph: dict[str, set[Import]]):
    found = {
        (module, imported.name)
        for module in BOTTOM
        for imported in graph[module]
        if within(imported.name, ("clear_rt",)) and imported.name not in BOTTOM
    }
    assert found == set()


def test_export_is_for_builders_only(graph: dict[str, set[Import]]):
    """Verbs that fetch and build; what they load before they are asked to are the options alone."""
    options = {
        "clear_rt.commands_export": {f"clear_rt.export.{name}" for name in ("build_config", "config", "profiles")},
        "clear_rt.commands_fetch": {"clear_rt.export.fetch_config"},
    }
    found = {
        (module, imported.name)
        for module, imports in graph.items()
        for imported in imports
        if not within(module, ("clear_rt.export",)) and within(imported.name, ("clear_rt.export",))
        if module not in options or (imported.eager and imported.name not in options[module])
    }
    assert found == set()


def test_no_two_modules_need_each_other(graph: dict[str, set[Import]]):
    found = {
        (module, imported.name)
        for module, imports in graph.items()
        for imported in imports
        if imported.eager and imported.name in graph and module in _loaded_by(imported.name, graph, parents=False)
    }
    assert found == set()


_WATCHED = """
import json, sys, time
events = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & 0o3:
        events.append(["write", str(arguments[0])])
    elif event in ("socket.connect", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "os.putenv"):
        events.append([event, str(arguments)])
sys.addaudithook(watch)
begun = time.perf_counter()
import clear_rt
seconds = time.perf_counter() - begun
print(json.dumps({"seconds": seconds, "events": events, "modules": sorted(sys.modules)}))
"""


@pytest.fixture(scope="module")
def imported(root: Path) -> list[dict]:
    """Three imports of clear_rt in interpreters of their own."""
    command = [sys.executable, "-B", "-c", _WATCHED]
    return [json.loads(subprocess.check_output(command, cwd=root, text=True)) for _ in range(3)]


def test_import_is_quick(imported: list[dict]):
    assert min(run["seconds"] for run in imported) < 0.3


def test_import_loads_no_library(imported: list[dict]):
    libraries = FORBIDDEN | {"numpy", "av", "onnxruntime", "typer", "rich"}
    assert libraries & set(imported[0]["modules"]) == set()


def test_import_touches_nothing(imported: list[dict]):
    assert imported[0]["events"] == []


def test_public_names_are_the_documented_ones():
    import clear_rt

    assert set(clear_rt.__all__) == {
        "remove", "clean_frames", "clean_arrays", "detect", "RunConfig", "Report", "ClearError", "__version__",
    }  # fmt: skip
    assert all(getattr(clear_rt, name) is not None for name in clear_rt.__all__)
