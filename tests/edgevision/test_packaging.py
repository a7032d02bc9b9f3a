"""Guards of what imports what, and of what is installed."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import json
import pkgutil
import subprocess
import sys
from pathlib import Path

import pytest

import edgevision
from edgevision import cli, registry

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = {"edgevision": "edgevision", "benchmarks": "edgevision.benchmarks"}
FOLDERS |= {"converters": "edgevision.converters"}

#: design.md, "Floors": from the bottom to the top. A module stands on its package's floor.
FLOORS = [
    "assets built_here clock errors frame geometry percentiles progress results runs signals skeleton spec streams system_files tensors text user_cache variant whole_file",
    "bundle choice device engine_key engines jetson metadata onnx_header presets registry shaping targets",
    "cuda decoders draw metrics pixel_formats preprocess",
    "trt",
    "backends labelled sinks sources stages tasks",
    "work",
    "pipeline",
    "model golden inspection running verification doctor commands",
    "benchmarks",
    "converters",
]
FLOOR_OF = {name: number for number, floor in enumerate(FLOORS) for name in floor.split()}
#: What a module may import from outside, besides numpy and the standard library.
MAY_IMPORT = {
    "edgevision/cli.py": {"click"},
    "edgevision/commands.py": {"click"},
    "edgevision/backends/ort.py": {"onnxruntime"},
    "edgevision/backends/_openvino_model.py": {"openvino"},
    "edgevision/cuda/library.py": {"pycuda"},
    "edgevision/metrics/detection_map.py": {"pycocotools"},
}


def modules():
    """Every module of the tree that is installed: name and file."""
    for folder, package in FOLDERS.items():
        for path in sorted((ROOT / folder).rglob("*.py")):
            if {"studies", "peers", "__pycache__"} & set(path.parts):
                continue
            parts = path.relative_to(ROOT / folder).with_suffix("").parts
            yield ".".join([package, *(p for p in parts if p != "__init__")]), path


MODULES = dict(modules())


def imported(path):
    """Names of all modules that a file imports, those under ``if TYPE_CHECKING`` and in functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def floor(name):
    parts = name.split(".")
    return FLOOR_OF.get(parts[1]) if len(parts) > 1 and parts[0] == "edgevision" else None


@pytest.mark.parametrize("name", MODULES)
def test_imports_only_go_down(name):
    here = floor(name)
    if name in ("edgevision", "edgevision.cli"):  # these import lazily, by name
        return
    assert here is not None, f"{name} has no floor: give it one in design.md and here"
    above = {m for m in imported(MODULES[name]) if (floor(m) or 0) > here}
    assert not above


@pytest.mark.parametrize(
    "name", [n for n, path in MODULES.items() if ROOT / "edgevision" in path.parents]
)
def test_only_the_file_of_a_backend_imports_its_engine(name):
    path = MODULES[name].relative_to(ROOT).as_posix()
    outside = {m.split(".")[0] for m in imported(MODULES[name])} - set(sys.stdlib_module_names)
    assert outside <= {"edgevision", "numpy", "cv2"} | MAY_IMPORT.get(path, set())


def test_benchmarks_import_no_onnx_but_in_cost():
    for name, path in MODULES.items():
        if name.startswith("edgevision.benchmarks") and path.stem != "cost":
            assert "onnx" not in {m.split(".")[0] for m in imported(path)}, name


def test_the_floors_are_those_of_the_page():
    page = ROOT / "docs" / "architecture.md"
    if not page.exists():
        pytest.skip("the source tree is not here")
    picture = page.read_text("utf-8").partition("## Floors")[2].split("```")[1].strip("\n")
    drawn = picture.replace("\n    ", " ").splitlines()
    assert [sorted(floor.split()) for floor in drawn[::-1]] == [sorted(f.split()) for f in FLOORS]


def loaded(code):
    """Modules that are loaded after some code ran in a fresh process."""
    script = f"import sys, json\n{code}\nprint('\\n' + json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/"
    )
    return set(json.loads(done.stdout.splitlines()[-1]))


def outsiders(names):
    known = set(sys.stdlib_module_names) | {"edgevision"}
    site = loaded("pass")  # what this environment's own start loads, such as editable installs
    return {n.split(".")[0] for n in names - site} - known - {"__mp_main__"}


def test_importing_the_package_imports_nothing_else():
    found = loaded("import edgevision")
    assert outsiders(found) == set()
    assert {n for n in found if n.startswith("edgevision")} == {"edgevision"}


def test_help_imports_only_click():
    found = loaded(
        "from edgevision import cli\ntry:\n    cli.main(['--help'])\nexcept SystemExit:\n    pass"
    )
    assert outsiders(found) == {"click"}
    ours = {n for n in found if n.startswith("edgevision")}
    assert ours == {"edgevision"} | {
        f"edgevision.{name}" for name in ("cli", "errors", "streams", "text")
    }


def test_the_help_of_a_verb_imports_no_engine():
    found = loaded(
        "from edgevision import cli\ntry:\n    cli.main(['run', '--help'])\nexcept SystemExit:\n    pass"
    )
    assert outsiders(found) == {"click"}


def test_inspecting_loads_no_engine(models):
    found = loaded(
        "from edgevision import cli\ntry:\n"
        f"    cli.main(['inspect', {str(models.detector)!r}])\nexcept SystemExit:\n    pass"
    )
    assert not {"onnx", "onnxruntime", "cv2"} & found


def test_every_module_imports_in_a_fresh_process():
    # One process for all; each module is imported with none of ours loaded before it.
    script = (
        "import importlib, json, sys\n"
        "failed = {}\n"
        "for name in json.loads(sys.argv[1]):\n"
        "    for old in [m for m in sys.modules if m.split('.')[0] == 'edgevision']:\n"
        "        del sys.modules[old]\n"
        "    try:\n"
        "        importlib.import_module(name)\n"
        "    except Exception as error:\n"
        "        failed[name] = repr(error)\n"
        "print(json.dumps(failed))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, json.dumps(list(MODULES))],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {}


def pyproject():
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        tomllib = pytest.importorskip("tomli")
    path = ROOT / "pyproject.toml"
    if not path.exists():
        pytest.skip("the source tree is not here")
    return tomllib.loads(path.read_text("utf-8"))


def test_the_packages_are_those_of_the_tree():
    listed = pyproject()["tool"]["setuptools"]["packages"]
    assert listed == sorted(listed)
    assert set(listed) == {
        n if path.stem == "__init__" else n.rpartition(".")[0] for n, path in MODULES.items()
    }


def test_data_files_are_installed():
    listed = pyproject()["tool"]["setuptools"]["package-data"]
    for package, patterns in listed.items():
        folder = MODULES[package].parent
        for pattern in patterns:
            assert list(folder.glob(pattern)), f"{package} has no {pattern}"
    assert "py.typed" in listed["edgevision"]


def test_base_dependencies_are_numpy_and_click():
    names = [d.split(">")[0] for d in pyproject()["project"]["dependencies"]]
    assert sorted(names) == ["click", "numpy"]


def test_the_version_is_told_once():
    assert pyproject()["project"]["version"] == edgevision.__version__


@pytest.mark.parametrize("name", [n for n in MODULES if n not in ("edgevision.__main__",)])
def test_every_module_says_what_it_is_for_and_what_it_offers(name):
    tree = ast.parse(MODULES[name].read_text("utf-8"))
    if not tree.body:  # an empty package file
        return
    assert ast.get_docstring(tree), f"{name} has no docstring"
    offered = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "__all__"
    ]
    assert offered, f"{name} has no __all__"
    defined = {getattr(n, "name", "") for n in tree.body}
    defined |= {
        t.id
        for n in tree.body
        if isinstance(n, ast.Assign)
        for t in n.targets
        if isinstance(t, ast.Name)
    }
    defined |= {n.target.id for n in tree.body if isinstance(n, ast.AnnAssign)}
    defined |= {
        a.asname or a.name for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) for a in n.names
    }
    assert set(offered[0]) <= defined


def functions(tree):
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("name", MODULES)
def test_every_function_is_typed(name):
    for node in functions(ast.parse(MODULES[name].read_text("utf-8"))):
        arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        bare = [a.arg for a in arguments if a.annotation is None and a.arg not in ("self", "cls")]
        assert not bare, f"{name}.{node.name}: {bare}"
        assert node.returns is not None, f"{name}.{node.name}"


@pytest.mark.parametrize("name", edgevision.__all__)
def test_the_public_names_are_there(name):
    value = getattr(edgevision, name)
    assert name == "__version__" or inspect.getdoc(value)


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        edgevision.nonsense  # noqa: B018


def test_every_verb_is_where_the_table_says():
    for target, text in cli.VERBS.values():
        module, _, name = target.partition(":")
        tree = ast.parse(MODULES[module].read_text("utf-8"))
        assert name in {node.name for node in functions(tree)}
        assert text


def test_the_tree_and_the_package_agree():
    found = {m.name for m in pkgutil.iter_modules(edgevision.__path__)}
    ours = {n.split(".")[1] for n in MODULES if n.count(".") and FOLDERS["edgevision"] in n}
    assert ours - {"benchmarks", "converters"} <= found | {"benchmarks", "converters"}


@pytest.mark.parametrize("kind", registry.KINDS)
def test_every_plug_in_can_be_chosen(kind):
    for name in registry.names(kind):
        if name == "openvino" and importlib.util.find_spec("openvino") is None:
            continue  # an extra; .ci/run tests without it too
        assert callable(registry.load(kind, name))
