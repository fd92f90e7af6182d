"""One finished tiny study for the session; every test gets a copy of its own."""

import shutil
import time
from pathlib import Path

import pytest
from tiny_study import CLEANING, COHORT, SOURCE, Run, admit, run, write_config, write_patients


@pytest.fixture(scope="session")
def pool(tmp_path_factory) -> Path:
    """All patients, those who come later too."""
    folder = tmp_path_factory.mktemp("patients")
    write_patients(folder)
    return folder


@pytest.fixture(scope="session")
def admitted(tmp_path_factory, pool) -> Path:
    """A working directory with settings and the first cohort, where nothing has run yet."""
    home = tmp_path_factory.mktemp("admitted")
    write_config(home)
    for number in COHORT:
        admit(home, pool, number)
    return home


@pytest.fixture(scope="session")
def finished(tmp_path_factory, admitted) -> tuple[Path, Run, float]:
    """The finished study, the run that made it and its seconds."""
    home = tmp_path_factory.mktemp("finished") / "home"
    shutil.copytree(admitted, home)
    started = time.monotonic()
    done = run(home)
    assert done.returncode == 0, done.output
    return home, done, time.monotonic() - started


@pytest.fixture(scope="session")
def cleaned(tmp_path_factory, finished) -> tuple[Path, Run]:
    """The finished study with another setting of the cleaning, and the run that followed the change."""
    home = tmp_path_factory.mktemp("cleaned") / "home"
    shutil.copytree(finished[0], home, symlinks=True)
    write_config(home, CLEANING)
    changed = run(home)
    assert changed.returncode == 0, changed.output
    return home, changed


@pytest.fixture
def fresh(tmp_path, admitted) -> Path:
    """A copy of the working directory where nothing has run yet."""
    shutil.copytree(admitted, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture
def home(tmp_path, finished) -> Path:
    """A copy of the finished study with its scans, its times and its `.snakemake`."""
    shutil.copytree(finished[0], tmp_path / "home", symlinks=True)
    return tmp_path / "home"


@pytest.fixture
def source(home) -> Path:
    """The source folder of the copy."""
    return home / SOURCE
