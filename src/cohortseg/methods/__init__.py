"""The table of methods: segmenters that turn a volume into a label, classical and trained ones alike."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Volume

Segment: TypeAlias = Callable[[Volume], npt.NDArray[np.uint8]]
"""Volume (z, y, x) of any number type -> uint8 label on the same grid, 0 is the background."""

Build: TypeAlias = Callable[..., Segment]
"""Makes a segmenter from named settings."""


@dataclass(frozen=True)
class Method:
    """One entry of the table.

    Parameters
    ----------
    load : callable or None
        Imports the method and returns its builder; None where weights make the method (infer/).
    scope : {'pointwise', 'halo', 'slice', 'volume'}
        What a voxel of the result depends on, in the widest of the method's settings.
    needs_weights : bool
        The method must be trained first.
    dims : tuple of int
        Dimensions it can work in.
    source : str
        Where the definition comes from.
    summary : str
        One line for the generated documentation.
    """

    load: Callable[[], Build] | None
    scope: Literal["pointwise", "halo", "slice", "volume"]
    needs_weights: bool
    dims: tuple[int, ...]
    source: str
    summary: str


def _load_threshold() -> Build:
    build: Build = import_module("cohortseg.methods.threshold").build
    return build


METHODS: dict[str, Method] = {
    "threshold": Method(
        load=_load_threshold,
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Otsu 1979; Liao et al. 2001; Yen et al. 1995; Li & Tam 1998; Zack et al. 1977",
        summary="intensity threshold, fixed or from the histogram, in the whole image, the body or the lungs",
    ),
    "unet": Method(
        load=None,
        scope="halo",
        needs_weights=True,
        dims=(2, 3),
        source="Ronneberger et al. 2015; Çiçek et al. 2016; Isensee et al. 2021",
        summary="U-Net whose patch, strides and channels come from the plan, applied by a sliding window",
    ),
    "pretrained": Method(
        load=None,
        scope="halo",
        needs_weights=True,
        dims=(2, 3),
        source="the study that made the model package",
        summary="finished networks of another study, with its plan; the mean of their probabilities",
    ),
}
