"""A child process that takes folders through the pipeline: a hang, a crash or a wish for memory ends it, not us."""

import multiprocessing
import resource
import traceback
from pathlib import Path
from typing import Any

LIMIT_S = 10.0
MEMORY_BYTES = 2 * 1024**3


def _serve(connection: Any) -> None:
    from pipeline import accept_all

    from cohortseg.io import dicomseg, itk, rtstruct  # noqa: F401  loaded before memory is limited

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send("ready")
    while (job := connection.recv()) is not None:
        folder, options = job
        try:
            connection.send(accept_all(folder, **options))
        except Exception as error:
            # The fault itself and the innermost places; the way through the harness says nothing.
            connection.send(f"{error}\n{''.join(traceback.format_tb(error.__traceback__)[-2:])}")


class Child:
    """Asks a child process, and starts another one where it died."""

    def __init__(self) -> None:
        self._process: Any = None
        self._connection: Any = None

    def accept(self, folder: Path, **options: Any) -> Any:
        """What `pipeline.accept_all` returns, or a text that says how it failed."""
        if self._process is None:
            self._start()
        self._connection.send((folder, options))
        try:
            if self._connection.poll(LIMIT_S):
                return self._connection.recv()
            found = f"HANG: no answer after {LIMIT_S:.0f} s"
        except EOFError:
            self._process.join(LIMIT_S)
            found = f"DIED: exit code {self._process.exitcode}"
        self._process.kill()
        self.close()
        return found

    def close(self) -> None:
        """End the child."""
        if self._process is None:
            return
        if self._process.is_alive():
            self._connection.send(None)
        self._process.join(LIMIT_S)
        self._connection.close()
        self._process.close()
        self._process = None

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        self._process.start()
        theirs.close()
        assert self._connection.recv() == "ready"
