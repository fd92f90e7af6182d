"""A machine that refuses: without root's right to open everything, and with a disk that is soon full."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from tiny_study import Run, call

WITHOUT_RIGHTS = """
import ctypes, os, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH; without effect for other users than root
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.execv(sys.argv[1], sys.argv[1:])
"""
"""Script for `python -c`: run a command that may open only what the modes of the files allow."""

NAMESPACE = ["unshare", "--mount", "--map-root-user", "sh", "-c"]
ON_A_SMALL_DISK = """
mount -t tmpfs -o size="$1"k tmpfs results || exit 99
shift
"$@"
code=$?
mkdir survived && cp -a results/. survived/
exit $code
"""


def on_a_small_disk(command: Sequence[str], cwd: Path, *, kilobytes: int) -> Run:
    """Run a command whose `results/` is a disk of its own; afterwards `results/` holds what survived."""
    if shutil.which("unshare") is None or not _may_mount(cwd):
        pytest.skip("this machine lets nobody mount a small disk (unshare --mount --map-root-user)")
    (cwd / "results").mkdir(exist_ok=True)
    done = call([*NAMESPACE, ON_A_SMALL_DISK, "sh", str(kilobytes), *command], cwd)
    (cwd / "results").rmdir()
    (cwd / "survived").rename(cwd / "results")
    return done


def _may_mount(cwd: Path) -> bool:
    tried = subprocess.run([*NAMESPACE, "mount -t tmpfs tmpfs ."], cwd=cwd, check=False, capture_output=True)
    return tried.returncode == 0
