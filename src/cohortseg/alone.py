"""Locks that the operating system takes back: a study has one run at a time, and each of its jobs one process.

A run that was killed may leave a job behind that still writes. The next run starts the same job, which waits here
for the end of the first and then finds its work done. The locks of all jobs are byte ranges of one file. Where a file
system knows no locks, work goes on without.
"""

import errno
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WITHOUT_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EROFS, errno.EACCES, errno.EPERM)
_HELD: list[int] = []
"""Files that stay open, because their locks are to last as long as the process."""


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold the lock of one piece of work for the length of a `with` block; waits while another process has it.

    Parameters
    ----------
    path : Path
        The file of all locks of a study, made when it is not there.
    what : str
        Name of the work.
    """
    file = _open(path)
    if file is None:
        yield
        return
    try:
        if not _locked(file, what, wait=False):
            print(f"waiting: another process does the same ({what})", file=sys.stderr, flush=True)
            _locked(file, what, wait=True)
        yield
    finally:
        os.close(file)


def hold(path: Path, what: str) -> bool:
    """Take a lock for the rest of this process; whether it was free."""
    file = _open(path)
    if file is None:
        return True
    if not _locked(file, what, wait=False):
        os.close(file)
        return False
    _HELD.append(file)
    return True


def _open(path: Path) -> int | None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in WITHOUT_LOCKS:
            return None
        raise


def _locked(file: int, what: str, *, wait: bool) -> bool:
    """Lock the byte of the work; True as well where the file system knows no locks."""
    place = int.from_bytes(hashlib.sha256(what.encode()).digest()[:7], "big")
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, place)
    except OSError as error:
        # POSIX allows both for a lock that another process holds.
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        if error.errno not in WITHOUT_LOCKS:
            raise
    return True
