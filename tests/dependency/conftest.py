# SPDX-License-Identifier: Apache-2.0
"""What several tests of the evaluation share."""
import tarfile

import pytest


@pytest.fixture(scope="session")
def published(shared_data, tmp_path_factory):
    """Detections of the released RetinaFace MobileNet-0.25 on all of WIDER val, and the ground truth."""
    folder, archive = tmp_path_factory.mktemp("published"), next((shared_data / "predictions").glob("*.tar.gz"))
    with tarfile.open(archive) as file:
        file.extractall(folder, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))
    return folder / archive.name.replace(".tar.gz", ""), shared_data / "wider" / "ground_truth"
