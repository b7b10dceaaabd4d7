# SPDX-License-Identifier: Apache-2.0
"""The doctor's checks of a machine: packages, compiler and extensions, devices, memory, disk.

    for finding in packages(): print(finding)

Each check imports nothing of the project and loads packages in processes of their own: a broken one ends that process.
"""
from __future__ import annotations

import ctypes.util
import errno
import importlib.metadata
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
OK, NOTE, WRONG = "ok", "note", "WRONG"
PYTHONS = ((3, 9), (3, 12))
# Packages with compiled parts: the name to import -> the name to install.
COMPILED = {"cv2": "opencv-python", "scipy.io": "scipy", "PIL.Image": "pillow", "pycocotools.mask": "pycocotools",
            "av": "av"}
# OpenCV has four packages, of which one must be there.
OPENCV = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
MANAGERS = {"apt-get": "install -y gcc libc6-dev python3-dev", "dnf": "install -y gcc python3-devel",
            "yum": "install -y gcc python3-devel", "apk": "add gcc musl-dev python3-dev"}
LITTLE_MEMORY, LITTLE_DISK = 3e9, 1e9
GB = 1e9


class Finding(NamedTuple):
    """What a check found: OK, NOTE (works, but) or WRONG; a text; and the command that repairs it, if any."""
    state: str
    text: str
    command: str = ""


def python_command(*words: object) -> str:
    """Write a command line that runs this Python."""
    return shlex.join([sys.executable, *map(str, words)])


def doctor_command(*words: object) -> str:
    """Write a command line that runs the doctor."""
    program = ("-m", "src.tools.doctor") if Path.cwd() == ROOT else (ROOT / "src/tools/doctor.py",)
    return python_command(*program, *words)


def short(path: Path) -> str:
    """Write a path as it is typed from the current folder."""
    return os.path.relpath(path) if Path.cwd() in path.resolve().parents else str(path)


def run_code(code: str, timeout: float = 120) -> tuple[bool, str, str]:
    """Run Python code in a process of its own, from the project's root.

    Returns:
        whether it ended well; its standard output; its first exception, or else the last line of its errors.
    """
    try:
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, errors="replace",
                              timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        return False, "", f"no end within {timeout:g} s"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    first = next((line for line in lines if re.match(r"[\w.]*(Error|Exception): \S", line)), "")     # causes the others
    return done.returncode == 0, done.stdout.strip(), first or (lines or [f"ended with status {done.returncode}"])[-1]


def packages() -> Iterator[Finding]:
    """Check the versions of Python and of all required packages, then load those with compiled parts."""
    install = python_command("-m", "pip", "install", "-r", short(ROOT / "requirements.txt"))
    if not PYTHONS[0] <= sys.version_info[:2] <= PYTHONS[1]:
        yield Finding(WRONG, f"Python {sys.version.split()[0]}: MindSpore has wheels for 3.9 to 3.12",
                      f"make -C {short(ROOT)} env PYTHON=python3.11")
    versions = {name: _version(name) for name in ("mindspore", "numpy", "opencv-python")}
    problems = list(_version_problems())
    if problems:
        yield Finding(WRONG, "packages: " + "; ".join(problems), install)
    else:
        words = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield Finding(OK, f"Python {sys.version.split()[0]}, {words}: within the tested range (requirements.txt)")
    loads, _, error = run_code("import numpy; numpy.dot(numpy.eye(2), numpy.eye(2))")
    if not loads:       # then no other package loads, either
        if versions["numpy"]:
            yield Finding(WRONG, f"NumPy {versions['numpy']} cannot be loaded: {error}",
                          python_command("-m", "pip", "install", "--force-reinstall", "--no-deps",
                                         f"numpy=={versions['numpy']}"))
        return
    present = {name: package for name, package in COMPILED.items() if _version(package)}
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        results = dict(zip(present, pool.map(lambda name: run_code(f"import numpy, {name}"), present)))
    for name, (loads, _, error) in results.items():
        if loads:
            continue
        command = python_command("-m", "pip", "install", "--upgrade", "--force-reinstall", "--no-deps", present[name])
        if "libGL" in error or "libgthread" in error:       # a server without a display
            command = (f"{python_command('-m', 'pip', 'uninstall', '-y', 'opencv-python')} && "
                       f"{python_command('-m', 'pip', 'install', 'opencv-python-headless')}")
        yield Finding(WRONG, f"{present[name]} {_version(present[name])} cannot be loaded: {error}", command)


def _version(name: str) -> str | None:
    """Return the installed version of a package; None where it is not installed."""
    for each in OPENCV if name == OPENCV[0] else (name,):
        try:
            return importlib.metadata.version(each)
        except importlib.metadata.PackageNotFoundError:
            pass
    return None


def _version_problems() -> Iterator[str]:
    """Yield the packages that are absent or outside the range that requirements.txt or MindSpore asks for."""
    from pip._vendor.packaging.requirements import InvalidRequirement, Requirement
    lines = [(line, "requirements.txt") for line in (ROOT / "requirements.txt").read_text().splitlines()
             if line and not line.startswith("#")]
    if _version("mindspore"):
        lines += [(line, "mindspore") for line in importlib.metadata.requires("mindspore") or ()]
    for line, source in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        version = _version(requirement.name)
        if version is None:
            yield f"{requirement.name} is not installed"
        elif not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} {version} is installed, {source} asks for {requirement.specifier}"


def extensions() -> Iterator[Finding]:
    """Check that each compiled module is there, is newer than its source and loads; else whether it can be built."""
    problems: dict[Path, str] = {}
    sources = sorted((ROOT / "dependency").rglob("*.pyx"))
    for source in sources:
        problem = _extension_problem(source)
        if problem:
            folder = source.parent
            problems[folder] = ", ".join(filter(None, [problems.get(folder, ""), f"{source.stem} {problem}"]))
    missing = _compiler_problem()
    for folder, problem in problems.items():
        command = python_command(short(folder / "setup.py"), "build_ext", "--inplace", "--force")
        if missing:
            problem, command = f"{problem}; {missing}", f"{_install_compiler()} && {command}"
        yield Finding(WRONG, f"compiled modules in {short(folder)}: {problem} (NumPy does their work, slower)", command)
    if not problems:
        yield Finding(OK, f"{len(sources)} compiled modules, built for this Python from the present sources"
                      + (f"; {missing}, which only building them again would need" if missing else ""))


def _extension_problem(source: Path) -> str:
    """Say what is wrong with the module compiled from a .pyx file; "" where nothing is."""
    built = [path for suffix in EXTENSION_SUFFIXES if (path := source.with_name(source.stem + suffix)).is_file()]
    if not built:
        others = [path.name for path in sorted(source.parent.glob(f"{source.stem}.*"))
                  if path.suffix in (".so", ".pyd")]
        return f"is built for another Python ({', '.join(others)})" if others else "is not built"
    if built[0].stat().st_mtime < source.stat().st_mtime:
        return "is older than its source"
    module = ".".join(source.relative_to(ROOT).with_suffix("").parts)
    loads, _, error = run_code(f"import {module}")
    return "" if loads else f"cannot be loaded ({error})"


def _compiler_problem() -> str:
    """Say what is missing to compile a module; "" where nothing is."""
    if os.name == "nt":
        return ""           # setuptools finds Visual Studio by itself
    compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
    if shutil.which(compiler) is None:
        return f"there is no C compiler ({compiler})"
    header = Path(sysconfig.get_path("include"), "Python.h")
    return "" if header.is_file() else f"Python's headers are not installed ({header})"


def _install_compiler() -> str:
    """Write the command that installs a compiler and Python's headers with this system's package manager."""
    name = next(filter(shutil.which, MANAGERS), "apt-get")
    return f"{'sudo ' * (os.geteuid() != 0)}{name} {MANAGERS[name]}"


def device(target: str) -> Iterator[Finding]:
    """Load MindSpore, and compute with it on a device: "auto", "CPU", "GPU" or "Ascend"."""
    version = _version("mindspore")
    if version is None:
        yield Finding(NOTE, "without MindSpore there is no training, and no checkpoint can be made")
        return
    gpus, npus = (sorted(path.name for path in Path("/dev").glob(pattern))
                  for pattern in ("nvidia[0-9]*", "davinci[0-9]*"))
    chosen = target if target != "auto" else "Ascend" if npus else "CPU"
    works, output, error = run_code(
        "import mindspore as ms\nprint('loaded', flush=True)\n"
        f"try: ms.set_device({chosen!r})\n"
        "except Exception as error: raise SystemExit(str(error).strip().splitlines()[0])")
    if not output:
        yield Finding(WRONG, f"MindSpore {version} cannot be loaded: {error}", python_command(
            "-m", "pip", "install", "--force-reinstall", "--no-deps", f"mindspore=={version}"))
    elif works:
        idle = f"; {', '.join(gpus)}: a GPU is used with --device_target GPU only" if gpus and chosen == "CPU" else ""
        yield Finding(OK, f"MindSpore {version} computes on {chosen}{idle}")
    else:
        if chosen == "Ascend":
            cann = os.environ.get("ASCEND_HOME_PATH", "/usr/local/Ascend/ascend-toolkit/latest")
            parts = f"{', '.join(npus) or 'no /dev/davinci*'}, {'' if Path(cann).is_dir() else 'no '}CANN in {cann}"
        else:
            parts = ", ".join([*(gpus or ["no /dev/nvidia*"]), *map(_library, ("cuda", "cudart", "cudnn"))])
        yield Finding(WRONG, f"--device_target {target}: MindSpore cannot use it here ({parts}; {error[:150]}). Every "
                             "program works on the CPU with", doctor_command("--device_target", "CPU"))


def _library(name: str) -> str:
    return ctypes.util.find_library(name) or f"no lib{name}"


def onnx_runtime(target: str) -> Iterator[Finding]:
    """Check ONNX Runtime and its provider of a device; it is optional."""
    works, output, error = run_code("import onnx, onnxruntime as o; print(o.__version__, *o.get_available_providers())")
    if not works:
        yield Finding(NOTE, f"no ONNX Runtime ({error}): detection on a CPU is 2 to 5 times slower",
                      python_command("-m", "pip", "install", "onnx", "onnxruntime"))
        return
    provider, package = {"GPU": ("CUDAExecutionProvider", "onnxruntime-gpu[cuda,cudnn]"),
                         "Ascend": ("CANNExecutionProvider", "onnxruntime-cann")}.get(target, ("CPU", ""))
    state = OK if provider in output else NOTE
    version, *providers = output.split()
    yield Finding(state, f"ONNX Runtime {version}: {', '.join(providers)}", "" if state == OK else (
        f"{python_command('-m', 'pip', 'uninstall', '-y', 'onnxruntime')} && "
        f"{python_command('-m', 'pip', 'install', package)}"))


def memory() -> Iterator[Finding]:
    """Check the memory that is free, of the machine or of the container."""
    free = _free_memory()
    if free is None:
        return
    little = free < LITTLE_MEMORY
    yield Finding(NOTE if little else OK, f"{free / GB:.1f} GB of memory free, {os.cpu_count()} processor cores" + (
        ": take small batches, --workers 1" if little else ""))


def _free_memory() -> float | None:
    """Return the free bytes; None where this system does not tell."""
    try:
        free = float(re.findall(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text())[0]) * 1024
    except (OSError, IndexError):
        return None
    with suppress(OSError, ValueError):         # of a container; "max" where there is no limit
        limit, used = (float(Path("/sys/fs/cgroup", f"memory.{name}").read_text()) for name in ("max", "current"))
        free = min(free, limit - used)
    return free


def output_folder(folder: Path) -> Iterator[Finding]:
    """Check that a folder, or the one that it will be made in, takes files and has space."""
    existing = next(each for each in (folder.absolute(), *folder.absolute().parents) if os.path.exists(each))
    name = short(existing)
    if not existing.is_dir():
        aside = shlex.join(["mv", name, f"{name}.file"])
        yield Finding(WRONG, f"{name} is a file, not a folder: nothing can be written in it",
                      f"{aside} && {shlex.join(['mkdir', '-p', str(folder)])}")
        return
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        is_forbidden = error.errno in (errno.EACCES, errno.EPERM)
        yield Finding(WRONG, f"nothing can be written in {name}: {error.strerror}",
                      _permit(existing, folder) if is_forbidden else _elsewhere(existing))
        return
    free = shutil.disk_usage(existing).free
    text = f"{free / GB:.1f} GB free for results in {name}"
    if free < LITTLE_DISK:
        yield Finding(WRONG, f"{text}; 140 checkpoints of CenterFace take 3.3 GB (--keep_checkpoint_max keeps fewer)",
                      _elsewhere(existing))
    else:
        yield Finding(OK, text)


def _elsewhere(folder: Path) -> str:
    """Write the command that tries the folder with most space, of those where this user may write; "" for none."""
    home = [Path.home(), Path.cwd(), Path(tempfile.gettempdir())]
    with suppress(OSError):
        home += [Path(line.split()[1]) for line in Path("/proc/mounts").read_text().splitlines()
                 if line.split()[2] not in ("tmpfs", "proc", "sysfs", "devtmpfs")]
    usable = [each for each in home if each.is_dir() and os.access(each, os.W_OK)
              and os.stat(each).st_dev != os.stat(folder).st_dev and shutil.disk_usage(each).free > LITTLE_DISK]
    if not usable:
        return ""
    best = max(usable, key=lambda each: shutil.disk_usage(each).free)
    return doctor_command("--out", best / "outputs")


def _permit(existing: Path, folder: Path) -> str:
    """Write the command that lets this user write in a folder, of which a part exists."""
    if existing.stat().st_uid == os.geteuid():
        return shlex.join(["chmod", "u+rwx", short(existing)])
    return f"{shlex.join(['sudo', 'mkdir', '-p', str(folder)])} && " + shlex.join(
        ["sudo", "chown", str(os.geteuid()), str(folder)])
