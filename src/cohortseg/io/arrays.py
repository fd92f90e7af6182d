"""Named arrays of numbers in a safetensors file, with plain metadata; never a pickle."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.errors import StudyError
from cohortseg.io.sidecar import file_digest

KEY = "cohortseg"


def write_arrays(path: Path, arrays: Mapping[str, npt.NDArray[Any]], metadata: Mapping[str, Any]) -> str:
    """Write arrays and metadata (ready for JSON); the same input gives the same bytes, a reader never sees half a file.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    from safetensors.numpy import save

    ordered = {name: np.ascontiguousarray(array) for name, array in sorted(arrays.items())}
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(save(ordered, metadata={KEY: json.dumps({**metadata}, sort_keys=True, allow_nan=False)}))
    unfinished.replace(path)
    return file_digest(path).removeprefix("sha256:")


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a file by name.

    Raises
    ------
    StudyError
        When there is none or it is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError) as error:
        raise StudyError(f"{path.name} cannot be read ({type(error).__name__}); train again") from error
