# SPDX-License-Identifier: Apache-2.0
"""Imports go down only, and no two modules import each other; docs/architecture.md draws the floors."""
from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.conftest import ROOT

# From the ground up; a module belongs to the longest name that begins its own, a program of the root to the last floor.
FLOORS = (
    ("dependency",),
    ("mindspore", "src.cli", "src.common"),
    ("src.weights", "src.annotations", "src.data", "src.models"),
    ("src.inference", "src.training", "src.evaluation", "src.run_folder", "src.video"),
    ("src.export", "src.centerface", "src.retinaface", "src.launch"),
    ("src",),           # face_detector, and the modules that the RetinaFace manual imports
    ("src.tools",),
    ("benchmarks", "scripts", ""),
)
# Neither of two models knows the other, and nothing below knows one.
APART = ({"src.centerface", "src.retinaface"},)


def source_files() -> list[Path]:
    """Every Python file of the product."""
    files = list(ROOT.glob("*.py"))
    for folder in ("dependency", "src", "benchmarks", "scripts"):
        files += [path for path in (ROOT / folder).rglob("*.py") if "build" not in path.parts]
    return sorted(files)


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imported(path: Path, modules: set[str]) -> Iterator[str]:
    """Modules of the project, and MindSpore, that a file imports, wherever in the file it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [name if (name := f"{node.module}.{alias.name}") in modules else str(node.module)
                     for alias in node.names]
        yield from (name for name in names if name in modules)
        if any(name.split(".")[0] == "mindspore" for name in names):
            yield "mindspore"


def graph() -> dict[str, set[str]]:
    """Module -> what it imports of the project and MindSpore."""
    files = {module_name(path): path for path in source_files()}
    return {name: set(imported(path, set(files))) - {name} for name, path in files.items()}


def package_of(module: str) -> tuple[int, str]:
    """Floor and package of a module."""
    places = [(floor, name) for floor, names in enumerate(FLOORS) for name in names
              if not name or module == name or module.startswith(f"{name}.")]
    return max(places, key=lambda place: len(place[1]))


def test_imports_go_down():
    arrows = graph()
    assert len(arrows) > 100 and sum(map(len, arrows.values())) > 200, "the graph is not read"
    wrong = []
    for module, others in arrows.items():
        floor, package = package_of(module)
        for other in others:
            lower, its_package = package_of(other)
            if lower > floor or package != its_package and {package, its_package} in APART:
                wrong.append(f"{module} imports {other}")
    assert not wrong


def test_no_circle():
    try:
        TopologicalSorter(graph()).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None
    packages: dict[str, set[str]] = {}
    for module, others in graph().items():
        package = package_of(module)[1]
        packages.setdefault(package, set()).update({package_of(other)[1] for other in others} - {package})
    try:
        TopologicalSorter(packages).prepare()
    except CycleError as error:
        raise AssertionError("packages: " + " -> ".join(error.args[1])) from None
