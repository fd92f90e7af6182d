"""Where the real cohorts are."""

import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory) -> Path:
    """A folder with the packed real cohorts laid out: sts, lung, faulty-dicom."""
    source = Path(os.environ.get("COHORTSEG_DATA", ROOT.parent / "shared" / "data"))
    if not (source / "unpack").is_file():
        pytest.skip("the real cohorts are not here: set COHORTSEG_DATA to the folder that holds `unpack`")
    target = tmp_path_factory.mktemp("cohorts")
    subprocess.run([str(source / "unpack"), str(target)], check=True, capture_output=True)
    return target
