# SPDX-License-Identifier: Apache-2.0
"""Published files are known by their content, and names that promise a hash are held to it."""
import hashlib

import pytest

from dependency.errors import InputError
from src.weights.file_hashes import describe, require_hash_in_name

CONTENT = b"x" * 3_000_001
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def write(path, content=CONTENT):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name, promised", [
    (f"resnet50-{DIGEST[:8]}.pth", None), (f"a-b-{DIGEST[:8]}.pt", None), (f"resnet50-{DIGEST}.pth", None),
    ("resnet50.pth", None), ("resnet50-1234567.pth", None), ("resnet50-19C8E357.pth", None),
    ("0-125_24750.ckpt", None), ("centerface-20240131.pth", None),
    ("resnet50-19c8e357.pth", "19c8e357"), ("day-20241331.pth", "20241331")])
def test_a_hash_in_a_name_is_verified(tmp_path, name, promised):
    write(tmp_path / name)
    if promised is None:
        require_hash_in_name(tmp_path / name)
        return
    with pytest.raises(InputError, match=f"{promised}.*{DIGEST}"):
        require_hash_in_name(tmp_path / name)


def test_published_files(shared_data, tmp_path, caplog):
    """By content, whatever the name."""
    path = tmp_path / "renamed.bin"
    path.write_bytes((shared_data / "weights" / "RetinaFace_mobilenet025.pth").read_bytes())
    assert describe(path).startswith("known: RetinaFace on MobileNetV1 x0.25, licence MIT, from github.com/biubug6/")
    assert not caplog.records
