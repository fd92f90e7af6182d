"""A throw-away SLURM for the session, and one study run twice: on this machine and on the cluster."""

import os
import shutil
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "workflow"))

import throwaway
from on_cluster import COHORT, write_study
from tiny_study import Run, admit, run, write_patients


@pytest.fixture(scope="session")
def cluster(tmp_path_factory) -> Path:
    """The folder of a running throw-away cluster; everything is stopped at the end."""
    if problem := throwaway.missing():
        if os.environ.get("CI") == "true":
            pytest.fail(f"with CI=true the tests of SLURM must run: {problem}")
        pytest.skip(problem)
    folder = tmp_path_factory.mktemp("cluster")
    try:
        throwaway.start(folder)
        yield folder
    finally:
        throwaway.stop(folder)


@pytest.fixture(scope="session")
def admitted(tmp_path_factory) -> Path:
    """A working directory with settings and four patients, where nothing has run yet."""
    pool, home = tmp_path_factory.mktemp("patients"), tmp_path_factory.mktemp("admitted")
    write_patients(pool)
    write_study(home)
    for number in COHORT:
        admit(home, pool, number)
    return home


@pytest.fixture(scope="session")
def local(tmp_path_factory, admitted) -> Path:
    """The study, finished on this machine."""
    home = tmp_path_factory.mktemp("local") / "home"
    shutil.copytree(admitted, home)
    done = run(home)
    assert done.returncode == 0, done.output
    return home


@pytest.fixture(scope="session")
def on_slurm(tmp_path_factory, admitted, cluster) -> tuple[Path, Run]:
    """The study, finished on the cluster, and the run that did it."""
    from on_cluster import run_on_cluster

    home = tmp_path_factory.mktemp("on_slurm") / "home"
    shutil.copytree(admitted, home)
    done = run_on_cluster(home)
    assert done.returncode == 0, done.output
    return home, done


@pytest.fixture
def fresh(tmp_path, admitted) -> Path:
    """A copy of the working directory where nothing has run yet."""
    shutil.copytree(admitted, tmp_path / "home")
    return tmp_path / "home"
