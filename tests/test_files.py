# SPDX-License-Identifier: Apache-2.0
"""Files are of a readable size, importing one does nothing, and --help needs no MindSpore."""
import ast
import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from tests.test_boundaries import module_name, source_files

MOST_LINES, WIDEST, MOST_FILES, MOST_FILES_OF_A_MODEL = 400, 120, 12, 16
# Run as a script.
INERT_CONDITIONS = ("__name__ == '__main__'", "not __package__")
INERT = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def is_inert(node):
    """Whether a statement of a module does nothing but define."""
    text = ast.unparse(node)
    return (isinstance(node, INERT) or isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            or isinstance(node, ast.If) and ast.unparse(node.test) in INERT_CONDITIONS
            or text.startswith("sys.path.") or isinstance(node, ast.Try) and text.startswith("try:\n    import"))


def test_importing_does_nothing():
    active = [f"{module_name(path)}: {ast.unparse(node).splitlines()[0]}" for path in source_files()
              if path.parent != ROOT for node in ast.parse(path.read_text(encoding="utf-8")).body if not is_inert(node)]
    assert not active


def test_files_and_packages_are_of_readable_size():
    wrong = []
    for path in [*source_files(), *sorted((ROOT / "tests").rglob("*.py"))]:
        lines = path.read_text(encoding="utf-8").splitlines()
        if len(lines) > MOST_LINES or max(map(len, lines), default=0) > WIDEST:
            wrong.append(f"{module_name(path)}: {len(lines)} lines, the longest {max(map(len, lines))}")
        if lines and "SPDX-License-Identifier: Apache-2.0" not in "\n".join(lines[:2]):
            wrong.append(f"{module_name(path)}: no licence line")
    for folder, count in Counter(path.parent for path in (ROOT / "src").rglob("*.py")).items():
        most = MOST_FILES_OF_A_MODEL if folder.name in ("centerface", "retinaface") else MOST_FILES
        if count > most:
            wrong.append(f"{folder.relative_to(ROOT)}: {count} files")
    assert not wrong


PROGRAMS = sorted(path.name for path in ROOT.glob("*.py"))


@pytest.mark.parametrize("program", [
    *PROGRAMS, "scripts/launch.py", "scripts/hccl_tools.py", "dependency/evaluate/eval.py",
    *sorted(f"-m {module_name(path)}" for folder in ("src/tools", "benchmarks") for path in (ROOT / folder).glob("*.py")
            if "__main__" in path.read_text(encoding="utf-8") and path.name != "doctor.py")])
def test_a_python_without_the_requirements_is_told_in_one_line(program):
    done = subprocess.run([sys.executable, "-S", *program.split(), "--help"], cwd=ROOT, capture_output=True, text=True,
                          timeout=60, check=False)
    (line,) = done.stderr.splitlines()
    assert done.returncode and "pip install -r requirements.txt" in line and sys.executable in line


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_needs_no_mindspore(program):
    code = (f"import runpy, sys; sys.modules['mindspore'] = None; sys.argv = [{program!r}, '--help']\n"
            f"try: runpy.run_path({str(ROOT / program)!r}, run_name='__main__')\n"
            "except SystemExit as end: assert not end.code, end.code\n")
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120,
                          check=False)
    assert done.returncode == 0 and len(done.stdout) > 300, done.stderr
