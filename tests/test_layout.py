"""The layout: what the package offers, what imports what, and how large its files may grow."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import grimp
import pytest
from importlinter.api import use_cases

import orthotrace

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "orthotrace"
# rglob does not follow the link src/orthotrace/analysis, so that no file is read twice.
SOURCES = sorted(file for folder in ("src", "analysis") for file in (ROOT / folder).rglob("*.py"))
FILES = [*SOURCES, *sorted(file for folder in ("tests", "scripts") for file in (ROOT / folder).rglob("*.py"))]


def test_other_names_are_not_public():
    with pytest.raises(AttributeError, match="module 'orthotrace' has no attribute 'nothing'"):
        orthotrace.nothing  # noqa: B018


def test_public_names_can_be_imported_and_type_checkers_see_them():
    nodes = ast.walk(ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8")))
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and str(node.module).startswith("orthotrace")]
    # "import A as A" is what makes a name public where __all__ is computed.
    seen = {alias.asname: (str(node.module), alias.name) for node in imports for alias in node.names}
    assert sorted(map(str, seen)) == sorted(orthotrace.__all__)
    for name, (module, origin) in seen.items():
        assert getattr(import_module(module), origin) is getattr(orthotrace, str(name))
        assert origin == name and name in dir(orthotrace)


def python(code: str, folder: Path) -> str:
    """What a user's script prints that lies in a folder."""
    (folder / "script.py").write_text(code)
    done = subprocess.run([sys.executable, "script.py"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_package_loads_nothing_heavy(tmp_path):
    heavy = {"torch", "numpy", "scipy", "matplotlib", "hydra", "pydantic", "pytorch_lightning"}
    assert python(f"import sys, orthotrace; print({heavy} & set(sys.modules))", tmp_path) == "set()\n"


@pytest.mark.parametrize("place", ["beside the script", "installed"])
def test_another_analysis_does_no_harm(tmp_path, place):
    folder = tmp_path if place == "beside the script" else tmp_path / "installed"
    (folder / "analysis").mkdir(parents=True)
    (folder / "analysis" / "__init__.py").write_text("mine = True")
    code = (
        f"import sys; sys.path.append({str(folder)!r})\n"
        "import analysis, orthotrace\n"
        "print(analysis.mine, orthotrace.analysis.__name__, orthotrace.analysis is not analysis)"
    )
    assert python(code, tmp_path) == "True orthotrace.analysis True\n"


def test_imports_point_one_way(capsys):
    kept = use_cases.lint_imports(str(ROOT / "pyproject.toml"), cache_dir=None, no_logo=True)
    assert kept, capsys.readouterr().out


def test_the_contract_reads_every_module():
    def module(file: Path) -> str:
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        return name.removeprefix("src.") if name.startswith("src.") else f"orthotrace.{name}"

    graph = grimp.build_graph("orthotrace", include_external_packages=True, cache_dir=None)
    assert {name for name in graph.modules if not graph.is_module_squashed(name)} == {module(file) for file in SOURCES}
    # Ours is orthotrace.analysis; one of this name is somebody else's.
    assert "analysis" not in graph.modules


# What is imported where it is chosen, and so never at the top of another file; what is chosen imports what it needs.
CHOSEN = {
    "layers": {"adder", "adders", "crossbar", "dbn", "distance", "hopfield", "initial", "maxout", "memristor",
               "pact", "quantised", "rbm", "stochastic_pooling"},
    "models": {"block_kinds", "blocks", "fractal", "inception", "plain_blocks", "separable", "style"},
    "data": {"bootstrapped"},
    "training": {"frozen_paths", "range_recorder", "range_test"},
    "methods": {"associative"},
}  # fmt: skip
# Chosen itself, by seeds_at_once.
CHOOSING = {"layers.stack"}


def test_ingredients_are_imported_where_they_are_chosen():
    names = {f"{package}.{module}" for package, modules in CHOSEN.items() for module in modules}
    for file in PACKAGE.rglob("*.py"):
        name = ".".join(file.relative_to(PACKAGE).with_suffix("").parts)
        if name in names | CHOOSING or name == "__init__":
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ImportFrom):
                assert str(node.module).removeprefix("orthotrace.") not in names, name
    assert all((PACKAGE / f"{name.replace('.', '/')}.py").is_file() for name in names)


def test_few_files_lie_beside_the_packages():
    assert len([file for file in PACKAGE.iterdir() if file.is_file()]) <= 3


def test_files_are_short():
    lengths = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in FILES}
    assert {file: length for file, length in lengths.items() if length > 400} == {}


def test_no_two_public_classes_share_a_name():
    places = defaultdict(list)
    for file in SOURCES:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(str(file.relative_to(ROOT)))
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_signatures_can_be_read():
    """Ranges are written as in the source: help() shows no objects of pydantic."""
    shown = {}
    for file in SOURCES:
        top = ROOT / "src" if file.is_relative_to(PACKAGE) else ROOT
        name = ".".join(file.relative_to(top).with_suffix("").parts).removesuffix(".__init__")
        module = import_module(name if name.startswith("orthotrace") else f"orthotrace.{name}")
        for value in vars(module).values():
            for member in (value, *vars(value).values()) if isinstance(value, type) else (value,):
                if inspect.isfunction(member) and member.__module__ == module.__name__:
                    shown[member.__module__, member.__qualname__] = str(inspect.signature(member))
    assert len(shown) > 1000
    assert [name for name, signature in shown.items() if "FieldInfo(" in signature] == []
