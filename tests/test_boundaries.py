# SPDX-License-Identifier: Apache-2.0
"""Who may import whom, and that importing a module does nothing."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

MODELS = ("src.centerface", "src.retinaface")


def modules(folder):
    return sorted(path for path in (ROOT / folder).rglob("*.py") if "build" not in path.parts)


def imports(path, top_only=False):
    """Names of imported modules; with top_only those that run at import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def breaks(folder, *forbidden):
    return [f"{path.relative_to(ROOT)} imports {name}" for path in modules(folder) for name in imports(path)
            if any(name == other or name.startswith(other + ".") for other in forbidden)]


def test_dependency_knows_neither_mindspore_nor_src():
    assert breaks("dependency", "mindspore", "src") == []


@pytest.mark.parametrize("room", ["common", "runtime", "export", "launch"])
def test_what_models_share_knows_no_model(room):
    assert breaks(f"src/{room}", *MODELS) == []


def test_common_is_at_the_bottom():
    assert breaks("src/common", "src.runtime", "src.export", "src.launch") == []
    assert breaks("src/runtime", "src.export", "src.launch") == []


def test_models_do_not_know_each_other():
    assert breaks("src/centerface", "src.retinaface") == []
    assert breaks("src/retinaface", "src.centerface") == []


def test_tests_of_boundaries_see_the_code():
    assert len(modules("dependency")) > 15 and len(modules("src")) > 40
    assert "numpy" in {name for path in modules("dependency") for name in imports(path)}


# Run as a script, or seen by a type checker only.
INERT_CONDITIONS = ("__name__ == '__main__'", "not __package__", "TYPE_CHECKING")


def statement_is_inert(node):
    allowed = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)
    return (isinstance(node, allowed) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            or isinstance(node, ast.If) and ast.unparse(node.test) in INERT_CONDITIONS
            or isinstance(node, ast.Expr) and ast.unparse(node).startswith("sys.path."))


@pytest.mark.parametrize("path", modules("src") + modules("dependency"), ids=lambda path: str(path.relative_to(ROOT)))
def test_importing_does_nothing(path):
    active = [ast.unparse(node).splitlines()[0] for node in ast.parse(path.read_text(encoding="utf-8")).body
              if not statement_is_inert(node)]
    assert active in ([], ["try:"]), "only a guarded import of a compiled extension may run at import"


@pytest.mark.parametrize("program", sorted(path.name for path in ROOT.glob("*.py")))
def test_help_does_not_import_mindspore(program):
    code = (f"import runpy, sys; sys.argv = [{program!r}, '--help']\n"
            f"try: runpy.run_path({str(ROOT / program)!r}, run_name='__main__')\n"
            "except SystemExit as end: assert not end.code, end.code\n"
            "assert 'mindspore' not in sys.modules")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout) > 300, "a help that teaches"


@pytest.mark.parametrize("path", modules("src") + modules("dependency") + sorted(ROOT.glob("*.py")),
                         ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_of_readable_size(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 400 and max(map(len, lines), default=0) <= 120
    if Path(path).stat().st_size:
        assert "SPDX-License-Identifier: Apache-2.0" in "\n".join(lines[:2])
