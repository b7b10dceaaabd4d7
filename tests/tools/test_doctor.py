# SPDX-License-Identifier: Apache-2.0
"""The doctor finds each of ten troubles, and the command that it prints repairs it, run as printed."""
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

import numpy as np
import pytest

from src.tools import doctor, machine_checks
from src.tools.machine_checks import NOTE, OK, ROOT, WRONG, Finding
from src.weights import checkpoint
from tests.data.test_data_file import make, two
from tests.test_faults import on_small_disk

SUFFIX = sysconfig.get_config_var("EXT_SUFFIX")
needs_compiler = pytest.mark.skipif(machine_checks._compiler_problem() != "", reason="no C compiler")


def wrong(findings):
    """The only finding that is WRONG."""
    (found,) = [finding for finding in findings if finding.state == WRONG]
    return found


def repair(command, **options):
    assert command, "nothing is printed to type"
    subprocess.run(command, shell=True, check=True, capture_output=True, timeout=120, **options)


@pytest.fixture
def modules(tmp_path, monkeypatch):
    """A project with one module to compile."""
    folder = tmp_path / "dependency/tiny"
    folder.mkdir(parents=True)
    (tmp_path / "dependency/__init__.py").touch()
    shutil.copy(ROOT / "dependency/build_extension.py", tmp_path / "dependency")
    setup = (ROOT / "dependency/evaluate/setup.py").read_text()
    (folder / "setup.py").write_text(setup.replace('"box_overlaps", "decimal_rows"', '"one"'))
    (folder / "one.pyx").write_text("def one():\n    return 1\n")
    monkeypatch.setattr(machine_checks, "ROOT", tmp_path)
    return folder


def test_no_compiler(modules, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    found = wrong(machine_checks.extensions())
    assert "no C compiler" in found.text and "one is not built" in found.text
    install, build = found.command.split(" && ")
    assert "apt-get install -y gcc" in install and shlex.split(build)[1].endswith("tiny/setup.py")
    monkeypatch.setattr(machine_checks, "_extension_problem", lambda source: "")
    (fine,) = machine_checks.extensions()
    assert fine.state == OK and "no C compiler" in fine.text, "only building would need one"


@needs_compiler
@pytest.mark.parametrize("trouble", ["older than its source", "another Python", "cannot be loaded"])
def test_an_old_extension(modules, trouble):
    built = modules / ("one.cpython-26-x.so" if trouble == "another Python" else f"one{SUFFIX}")
    built.write_bytes(b"no module")
    if trouble == "older than its source":
        os.utime(built, (0, 0))
    found = wrong(machine_checks.extensions())
    assert trouble in found.text
    if trouble == "cannot be loaded":       # one compilation is enough: the command is the same
        repair(found.command)
        assert [finding.state for finding in machine_checks.extensions()] == [OK]


def package(folder, name, code):
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code)


def test_a_numpy_outside_the_range(tmp_path, monkeypatch):
    (tmp_path / "numpy-1.20.0.dist-info").mkdir()
    (tmp_path / "numpy-1.20.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 1.20.0\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(machine_checks, "run_code", lambda code: (True, "", ""))
    found = wrong(machine_checks.packages())
    assert "numpy 1.20.0 is installed, requirements.txt asks for >=1.25" in found.text
    assert shlex.split(found.command)[1:5] == ["-m", "pip", "install", "-r"]
    assert Path(shlex.split(found.command)[5]).samefile(ROOT / "requirements.txt")


def test_a_package_that_was_compiled_for_another_numpy(tmp_path, monkeypatch):
    package(tmp_path, "scipy", "raise ValueError('numpy.dtype size changed, may indicate binary incompatibility')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = wrong(machine_checks.packages())
    assert "scipy" in found.text and "binary incompatibility" in found.text
    assert found.command.startswith(sys.executable) and found.command.endswith("--force-reinstall --no-deps scipy")


def test_a_numpy_that_cannot_be_loaded(tmp_path):
    """The whole program, which must need no package."""
    package(tmp_path, "numpy", "raise ImportError('\\n\\nIMPORTANT: PLEASE READ THIS\\nOriginal error was: broken')")
    done = subprocess.run([sys.executable, "-m", "src.tools.doctor", "--out", tmp_path], cwd=ROOT, timeout=120,
                          env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and not done.stderr, done.stderr
    line, command = next(pair for pair in zip(done.stdout.splitlines(), done.stdout.splitlines()[1:])
                         if pair[0].startswith(WRONG))
    assert "cannot be loaded" in line and "Original error was: broken" in line
    assert f"--force-reinstall --no-deps numpy=={np.__version__}" in command


def test_missing_images(tmp_path):
    path = make(tmp_path, {**two(), "images/train/c.jpg": None, "labels/train/c.txt": "",
                           "train.txt": "images/train/a.jpg\nimages/train/gone.jpg\nimages/train/c.jpg\n"},
                "train: train.txt\nval: images/val\n")
    found = wrong(doctor.data(path, tmp_path))
    assert "gone.jpg" in found.text
    repair(found.command)
    assert (tmp_path / "train.txt").read_text() == "images/train/a.jpg\nimages/train/c.jpg\n"
    assert all(finding.state != WRONG for finding in doctor.data(path, tmp_path))
    assert (tmp_path / "doctor.jpg").stat().st_size > 1000


@pytest.mark.parametrize("line", ["path: /nowhere\n", ""])
def test_a_wrong_root(tmp_path, line):
    path = make(tmp_path / "set", two(), f"{line}train: images/train\nval: images/val\n")
    path = path.rename(tmp_path / "my.yaml")
    found = wrong(doctor.data(path, tmp_path))
    repair(found.command)
    assert f"path: {tmp_path}/set\n" in path.read_text()
    assert all(finding.state == OK for finding in doctor.data(path, tmp_path))


def test_started_from_another_folder(tmp_path, monkeypatch):
    make(tmp_path, two())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = shlex.split(wrong(doctor.data(Path("my.yaml"), tmp_path)).command)
    assert words[-2:] == ["--data", str(tmp_path / "my.yaml")] and Path(words[1]).samefile(doctor.__file__)


def test_unreadable_labels(tmp_path):
    path = make(tmp_path, two("0 .5 .5 .5 .5\n0 .5 .5 .5\nface\n", "0 .5 .5 nan .5\n0 .5 .5 .5 .5\n"))
    found = wrong(doctor.data(path, tmp_path))
    assert "2 unusable" in found.text and "a.txt:2" in found.text
    repair(found.command)
    findings = list(doctor.data(path, tmp_path))
    assert all(finding.state == OK for finding in findings) and "1 images to train on with 1 faces" in findings[0].text


@pytest.mark.parametrize("encoding, name", [("gb18030", "照片"), ("latin-1", "é")])
def test_labels_in_another_encoding(tmp_path, encoding, name):
    path = make(tmp_path, {f"images/{name}.jpg": None, "images/b.jpg": None},
                "train: images\nval: images\nlabels: label.txt\n")
    (tmp_path / "label.txt").write_bytes(f"# {name}.jpg\n1 2 30 40\n# b.jpg\n1 2 30 40\n".encode(encoding))
    repair(wrong(doctor.data(path, tmp_path)).command)
    assert all(finding.state != WRONG for finding in doctor.data(path, tmp_path))


def test_a_full_disk(tmp_path):
    script = ("import pathlib, sys; from src.tools.machine_checks import *; "
              "print([*output_folder(pathlib.Path(sys.argv[1]))][0].command)")
    fill = f"dd if=/dev/zero of={tmp_path}/disk/full bs=4k 2>/dev/null"
    done = on_small_disk(1, tmp_path / "disk", f'{fill}; {sys.executable} -c "{script}" {tmp_path}/disk/out')
    words = shlex.split(done.stdout)
    assert words[1:4] == ["-m", "src.tools.doctor", "--out"], done.stderr
    assert [finding.state for finding in machine_checks.output_folder(Path(words[4]))] == [OK]


def test_little_space(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=5e8))
    assert "0.5 GB" in wrong(machine_checks.output_folder(tmp_path)).text


def test_no_permission_to_write(monkeypatch):
    root = Path(tempfile.mkdtemp())
    nobody = 65534
    try:
        root.chmod(0o755)
        folder = root / "outputs"
        folder.mkdir(mode=0o555)
        is_root = os.geteuid() == 0
        if is_root:         # whom permissions do not bind
            os.chown(folder, nobody, -1)
            os.seteuid(nobody)
        try:
            found = wrong(machine_checks.output_folder(folder / "run"))
        finally:
            if is_root:
                os.seteuid(0)
        assert "Permission denied" in found.text
        repair(found.command, **({"user": nobody} if is_root else {}))
        assert folder.stat().st_mode & 0o700 == 0o700
    finally:
        shutil.rmtree(root)


def test_the_folder_of_another_user(tmp_path, monkeypatch):
    """Only the folder itself gets another owner, never the one above it."""
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda dir: (_ for _ in ()).throw(PermissionError(13, "denied")))
    folder = tmp_path / "run"
    command = wrong(machine_checks.output_folder(folder)).command
    assert command == f"sudo mkdir -p {folder} && sudo chown 12345 {folder}"


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("text")
    repair(wrong(machine_checks.output_folder(tmp_path / "out/run")).command)
    assert [finding.state for finding in machine_checks.output_folder(tmp_path / "out/run")] == [OK]
    assert (tmp_path / "out.file").read_text() == "text"


def test_a_gpu_that_is_not_there(monkeypatch):
    message = "Unsupported device target GPU. This process only supports one of the ['CPU']."
    monkeypatch.setattr(machine_checks, "run_code",
                        lambda code: (False, "loaded", message) if "'GPU'" in code else (True, "loaded", ""))
    found = wrong(machine_checks.device("GPU"))
    assert message in found.text and shlex.split(found.command)[-2:] == ["--device_target", "CPU"]
    assert [finding.state for finding in machine_checks.device("CPU")] == [OK]


def test_a_damaged_checkpoint(tmp_path):
    paths = [tmp_path / checkpoint.checkpoint_name(0, epoch, epoch * 5) for epoch in (1, 2, 3)]
    for path in paths:
        checkpoint.save(path, {"weight": np.arange(4, dtype=np.float32)}, None, {"epoch": 1})
    for path in paths[1:]:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    found = wrong(doctor.checkpoint(paths[2]))
    aside, again = found.command.split(" && ")
    repair(aside)
    assert checkpoint.list_checkpoints(tmp_path) == paths[:2]
    assert [finding.state for finding in doctor.checkpoint(Path(shlex.split(again)[-1]))] == [OK]


def test_the_exit_status_and_a_check_that_fails(monkeypatch, capsys):
    for name in ("packages", "memory", "extensions", "device", "onnx_runtime"):
        monkeypatch.setattr(machine_checks, name, lambda *_: [Finding(OK, "fine"), Finding(NOTE, "slow", "type this")])
    monkeypatch.setattr(machine_checks, "output_folder", lambda folder: iter([Finding(OK, "fine")]))
    assert doctor.main(["--quick"]) == 0 and "      type this\n" in capsys.readouterr().out

    def fails(folder):
        raise RuntimeError("a surprise")
        yield
    monkeypatch.setattr(machine_checks, "output_folder", fails)
    assert doctor.main(["--quick"]) == 1
    assert "RuntimeError: a surprise" in capsys.readouterr().out


@pytest.mark.soak
@pytest.mark.parametrize("model", ["centerface", "retinaface"])
def test_one_step_of_everything(tmp_path, model, capsys):
    path = make(tmp_path, two("0 .5 .5 .5 .5\n"))
    for options in ([], ["--data", str(path)]):
        status = doctor.main([*options, "--model", model, "--out", str(tmp_path / "out"), "--device_target", "CPU"])
        output = capsys.readouterr().out
        assert status == 0 and "training works" in output and "detection works" in output, output
