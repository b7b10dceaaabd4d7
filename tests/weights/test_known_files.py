# SPDX-License-Identifier: Apache-2.0
"""Published files are known by their content, and names that promise a hash are held to it."""
import hashlib

import pytest

from dependency.errors import InputError
from src.weights.known_files import KNOWN, describe, require_hash_in_name

CONTENT = b"x" * 3_000_001
DIGEST = hashlib.sha256(CONTENT).hexdigest()


def write(path, content=CONTENT):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", [
    f"resnet50-{DIGEST[:8]}.pth", f"a-b-{DIGEST[:8]}.pt", f"resnet50-{DIGEST}.pth", "resnet50.pth",
    "resnet50-1234567.pth", "resnet50-19C8E357.pth", "0-125_24750.ckpt", "run-0badcafe.ckpt",
    "centerface-20240131.pth"])
def test_names_that_are_kept_or_promise_nothing(tmp_path, name):
    require_hash_in_name(write(tmp_path / name))


@pytest.mark.parametrize("name, digits", [("resnet50-19c8e357.pth", "19c8e357"), ("a-00000000.pt", "00000000"),
                                          ("day-20241331.pth", "20241331"),
                                          (f"resnet50-{DIGEST[:-1]}{'01'[DIGEST[-1] == '0']}.pth", DIGEST[:-1])])
def test_names_that_are_broken(tmp_path, name, digits):
    with pytest.raises(InputError, match=f"{digits}.*{DIGEST}"):
        require_hash_in_name(write(tmp_path / name))


def test_the_table():
    assert all(len(digest) == 64 and int(digest, 16) for digest in KNOWN)
    names = [name for known in KNOWN.values() for name in known.names]
    assert len(names) == len(set(names)) and all(known.licence and known.origin for known in KNOWN.values())


def test_a_name_taken_over_is_a_warning(tmp_path, caplog):
    assert DIGEST in describe(write(tmp_path / "mine.pth"))
    assert not caplog.records
    for known in KNOWN.values():
        for name in known.names:
            caplog.clear()
            assert not describe(write(tmp_path / name)).startswith("known")
            assert [record.levelname for record in caplog.records] == ["WARNING"]
            assert name in caplog.text and known.content in caplog.text


def test_published_files(shared_data, tmp_path, caplog):
    """By content, whatever the name."""
    path = tmp_path / "renamed.bin"
    path.write_bytes((shared_data / "weights" / "RetinaFace_mobilenet025.pth").read_bytes())
    assert describe(path).startswith("known: RetinaFace on MobileNetV1 x0.25, licence MIT, from github.com/biubug6/")
    assert not caplog.records
