"""Mathematical morphology of grey levels: what a ball does not fit under stands out, whatever the illumination."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.volume import Array, Shape, Triple, Volume


def build(
    *, kind: Literal["white", "black", "gradient"] = "white", radius_mm: float = 5.0, above: float = 50.0
) -> Segment:
    """A segmenter of small bright (or dark) structures, or of borders: class 1.

    Parameters
    ----------
    kind : {'white', 'black', 'gradient'}
        'white': image minus its opening. 'black': its closing minus the image. 'gradient': dilation minus erosion.
    radius_mm : float
        Half the sides of the box of the structuring element.
    above : float
        Found is what is above, in image units.

    Raises
    ------
    SettingsError
        When the radius is not positive.

    Notes
    -----
    Source: Serra 1982; Soille 2004, Morphological Image Analysis, chapters 3.8 and 4.5.
    """
    if radius_mm <= 0:
        raise SettingsError(f"radius_mm must be positive, got {radius_mm}")

    def segment(volume: Volume) -> npt.NDArray[np.uint8]:
        image = np.asarray(volume.array, dtype=np.float32)
        sides = tuple(2 * n + 1 for n in reach(radius_mm, volume.grid.spacing_mm))
        return (transformed(image, kind, sides) > above).astype(np.uint8)

    return segment


def transformed(image: Array, kind: str, sides: tuple[int, ...]) -> Array:
    """Top-hat or gradient with a box of so many voxels."""
    from scipy import ndimage

    if kind == "gradient":
        return np.asarray(ndimage.grey_dilation(image, sides) - ndimage.grey_erosion(image, sides))
    if kind == "white":
        return np.asarray(image - ndimage.grey_dilation(ndimage.grey_erosion(image, sides), sides))
    return np.asarray(ndimage.grey_erosion(ndimage.grey_dilation(image, sides), sides) - image)


def reach(radius_mm: float, spacing_mm: Triple) -> Shape:
    """Voxels of the radius along z, y, x; at least none."""
    z, y, x = (int(radius_mm / size + 1e-6) for size in spacing_mm)
    return z, y, x


def halo(spacing_mm: Triple, *, radius_mm: float = 5.0, **others: object) -> Shape:
    """What a voxel of the result depends on: an opening reaches twice the radius."""
    del others
    z, y, x = reach(radius_mm, spacing_mm)
    return 2 * z, 2 * y, 2 * x
