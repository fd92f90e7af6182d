"""An image that networks made, as it is stored: float32 in the unit of the target, on the native grid."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cohortseg.io import store
from cohortseg.preprocess.shares import to_values
from cohortseg.settings import SynthesisSettings
from cohortseg.steps.batch import Record
from cohortseg.volume import Grid


def write_image(target: Path, grid: Grid, blocks: Iterator[Any], task: SynthesisSettings) -> Record:
    """Write blocks of shares of the range as values of the target; returns the digest for the sidecar."""
    low, high = task.range
    slabs = ((block.first, to_values(block.channel(0), low, high)) for block in blocks)
    return {"content": store.write(target, grid, np.float32, slabs)}
