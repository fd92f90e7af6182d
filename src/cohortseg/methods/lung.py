"""The lung region of a chest CT, step by step: air, growing, vessels, symmetry about the spine, margin.

Written from the description in Primakov et al. 2022 (Nat. Commun. 13:3423) as the source text of this project prints
it; thresholds and radii are our own.
"""

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods import Segment
from cohortseg.methods.regions import Mask, _dilated, _filled, _largest, body, opened
from cohortseg.methods.spine import Axis, Peak, Rows, spine_axis, symmetric
from cohortseg.methods.threshold import find_threshold
from cohortseg.volume import Array, Triple, Volume

AIRWAY_HU = -930.0
"""Lung is denser than the air of the windpipe."""
AIRWAY_BLUR_MM = 1.0
"""Standard deviation of the in-plane Gaussian that takes the noise away before."""
AIRWAY_MM = 3.0
"""Half the width of the narrowest airway that is taken out, and the thickness of its wall."""
AIRWAY_MIDDLE = 0.4
"""Airways lie in this middle share of the body's width; bullae of the apex do not."""
GROWTH_MM = 3.0
"""The less airy rim of a lung is taken as far as this from its air."""


def build(
    *,
    air_hu: float | None = -400.0,
    growth_hu: float = -300.0,
    closing_mm: float = 5.0,
    airways: bool = False,
    flip_union: bool = False,
    spine_rows: Rows = "posterior",
    spine_peak: Peak = "symmetry",
    spine_position: Axis = "smoothed",
    spine_taps: int = 7,
    spine_first: int = 5,
    spine_alpha: float = 0.3,
    margin: int = 0,
) -> Segment:
    """A segmenter of the lungs as class 1.

    Parameters
    ----------
    air_hu : float or None
        Air is darker; found by Otsu's rule in the body when None.
    growth_hu : float
        The lung grows from its air into voxels darker than this.
    closing_mm : float
        Radius of the ball that closes vessels and joins regions.
    airways : bool
        Keep windpipe and main bronchi.
    flip_union : bool
        Add the mirror image of the lungs about the spine.
    spine_rows, spine_peak, spine_position, spine_taps, spine_first, spine_alpha
        How the spine is found: see `methods/spine.py`.
    margin : int
        Radius in pixels of the disk that widens the region in each slice; 5 is 81 pixels.

    Returns
    -------
    callable
        CT volume in HU -> uint8. All 0 where the body holds no air.

    Raises
    ------
    SettingsError
        When growth is not above air, or the number of taps is even.
    """
    if air_hu is not None and growth_hu < air_hu:
        raise SettingsError(f"growth_hu must not be below air_hu, got {growth_hu} and {air_hu}")
    if spine_taps < 1 or spine_taps % 2 == 0:
        raise SettingsError(f"spine_taps must be odd, got {spine_taps}")

    def segment(volume: Volume) -> npt.NDArray[np.uint8]:
        inside = body(volume)
        found = lung_mask(volume, inside, air_hu, growth_hu, closing_mm, airways=airways)
        if flip_union and found.any():
            column = spine_axis(
                volume.array,
                inside,
                np.asarray(found.any(axis=(1, 2))),
                rows=spine_rows,
                peak=spine_peak,
                axis=spine_position,
                taps=spine_taps,
                first=spine_first,
                alpha=spine_alpha,
            )
            found = symmetric(found, column)
        return widened(found, margin).astype(np.uint8)

    return segment


def lung_mask(
    volume: Volume, inside: Mask, air_hu: float | None, growth_hu: float, closing_mm: float, *, airways: bool = False
) -> Mask:
    """Both lungs: air of the body without the windpipe, grown into its rim, with vessels closed.

    Parameters
    ----------
    volume : Volume
        HU.
    inside : bool array, shape (z, y, x)
        The body (`regions.body`).
    air_hu, growth_hu, closing_mm, airways
        As in `build`.
    """
    image, spacing = np.asarray(volume.array), volume.grid.spacing_mm
    limit = find_threshold(image, inside, rule="otsu") if air_hu is None else air_hu
    tree = np.zeros(inside.shape, bool) if airways else airway(image, inside, spacing)
    core = _largest(inside & (image < limit) & ~tree, 2)
    if not core.any():
        return core
    grown = core | (_dilated(core, GROWTH_MM, spacing) & inside & (image < max(growth_hu, limit)) & ~tree)
    return closed(_largest(grown, 2), closing_mm, spacing, inside & ~tree)


def airway(image: Array, inside: Mask, spacing_mm: Triple) -> Mask:
    """Windpipe and main bronchi with their walls: wide tubes of pure air in the middle of the body."""
    from scipy import ndimage

    sigma = [0, AIRWAY_BLUR_MM / spacing_mm[1], AIRWAY_BLUR_MM / spacing_mm[2]]
    smooth = ndimage.gaussian_filter(image.astype(np.float32), sigma, mode="nearest")
    dark = opened(inside & (smooth < AIRWAY_HU), AIRWAY_MM, spacing_mm)
    numbers, n = ndimage.label(dark)
    if n == 0:
        return dark
    columns = np.flatnonzero(inside.any(axis=(0, 1)))
    middle, reach = (columns[0] + columns[-1]) / 2, (columns[-1] - columns[0] + 1) * AIRWAY_MIDDLE / 2
    centres = np.array(ndimage.center_of_mass(dark, numbers, np.arange(1, n + 1)))[:, 2]
    wanted = np.concatenate([[False], np.abs(centres - middle) <= reach])
    return _dilated(wanted[numbers], AIRWAY_MM, spacing_mm)


def closed(mask: Mask, radius_mm: float, spacing_mm: Triple, within: Mask) -> Mask:
    """The mask with vessels and narrow gaps filled, and holes of each slice; never smaller than it was."""
    if radius_mm > 0:
        # beyond the image there is no lung to erode from: a rim as wide as the ball
        reach = [int(np.ceil(radius_mm / size)) + 1 for size in spacing_mm]
        wide = np.pad(mask, [(n, n) for n in reach])
        wide = ~_dilated(~_dilated(wide, radius_mm, spacing_mm), radius_mm, spacing_mm)
        inner = tuple(slice(n, -n) for n in reach)
        mask = mask | (wide[inner] & within)
    return mask | (_filled(mask, per_slice=True) & within)


def disk(radius: int) -> Mask:
    """The pixels whose centres lie within a radius: 81 for 5."""
    y, x = np.ogrid[-radius : radius + 1, -radius : radius + 1]
    return np.asarray(y**2 + x**2 <= radius**2)


def widened(mask: Mask, radius: int) -> Mask:
    """Each slice dilated by a disk of so many pixels."""
    import edt

    out = mask.copy()
    if radius > 0:
        for plane in out:
            if plane.any() and not plane.all():
                plane[:] = edt.edt(~plane, black_border=False) <= radius * (1 + 1e-5)
    return out
