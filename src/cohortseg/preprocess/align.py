"""Bring a further channel onto the grid of the first: by its place in the world, or by a rigid registration.

A transform leads from the world of the fixed image to the world of the moving one, as in ITK: it tells for each voxel
that is to be filled where to look. Rotations turn points (x, y, z) in LPS; see `RigidTransform.apply`.
"""

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.blocks import DEFAULT_BLOCK, Readable, Writable, fill_blocks, read, write_unit
from cohortseg.errors import Rejected
from cohortseg.preprocess.resample import resample, resample_to
from cohortseg.volume import Array, Grid, Triple

SAME_MM = 0.01
"""Grids whose voxel centres lie closer are one, and voxels are copied."""
WORK_MM = 2.0
"""Images are registered on voxels of this size, or their own where those are larger."""
WORK_VOXELS = 8_000_000
"""Most voxels of a working image; larger images get larger voxels."""
CLIPPED = (0.5, 99.5)
"""Percentiles beyond which values are clipped: metal and the bladder in PET would fill most bins of the histogram."""
BINS = 32
SAMPLES = 100_000
"""Voxels that the metric looks at, on each level."""
LEVELS = ((4, 4.0), (2, 2.0), (1, 0.0))
"""Shrink factor and smoothing in mm."""
LEAST_VOXELS = 8
"""No axis is shrunk below this."""
LARGEST_TURN_DEGREES = 45.0
LARGEST_SHIFT = 0.5
"""Share of the fixed image's length along an axis that its centre may move from the start."""
LOSS = 0.02
"""Share of the information that the optimiser may lose against its start, for it looks at other voxels than the judge.
Images that lay right from the start are left there."""
NOISE_FACTOR = 3.0
"""Images must share so many times the information that independent ones seem to share."""


@dataclass(frozen=True)
class RigidTransform:
    """A turn about a centre and a shift, from the fixed to the moving world.

    Parameters
    ----------
    rotation : three rows of three numbers
        Rotation matrix of points (x, y, z).
    translation_mm : (float, float, float)
        Shift along x, y, z.
    centre_mm : (float, float, float)
        Point (x, y, z) that the rotation leaves where it is.
    """

    rotation: tuple[Triple, Triple, Triple]
    translation_mm: Triple
    centre_mm: Triple

    def apply(self, points_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Where points of the fixed world, float array of shape (..., 3), lie in the moving world."""
        centre = np.asarray(self.centre_mm)
        moved: npt.NDArray[np.float64] = (np.asarray(points_mm, dtype=float) - centre) @ np.array(self.rotation).T
        moved += centre + np.asarray(self.translation_mm)
        return moved

    def moved(self, moving_grid: Grid) -> Grid:
        """The grid of the moving image as it lies in the fixed world."""
        back = np.array(self.rotation).T
        centre = np.asarray(self.centre_mm)
        origin = back @ (np.asarray(moving_grid.origin_mm) - centre - np.asarray(self.translation_mm)) + centre
        z, y, x = (_triple(back @ np.asarray(axis)) for axis in moving_grid.axes)
        return Grid(moving_grid.shape, moving_grid.spacing_mm, _triple(origin), (z, y, x))

    @property
    def turn_degrees(self) -> float:
        """Angle of the rotation, 0 to 180."""
        return math.degrees(math.acos(min(1.0, max(-1.0, (float(np.trace(self.rotation)) - 1.0) / 2.0))))

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers, ready for JSON; `RigidTransform.from_dict` reads them back exactly."""
        return {
            "rotation": [list(row) for row in self.rotation],
            "translation_mm": list(self.translation_mm),
            "centre_mm": list(self.centre_mm),
        }

    @staticmethod
    def from_dict(numbers: dict[str, Any]) -> "RigidTransform":
        """The inverse of `as_dict`."""
        a, b, c = (_triple(row) for row in numbers["rotation"])
        return RigidTransform((a, b, c), _triple(numbers["translation_mm"]), _triple(numbers["centre_mm"]))


def align_to(
    moving: Readable,
    moving_grid: Grid,
    target_grid: Grid,
    out: Writable,
    *,
    interpolation: str = "linear",
    outside: float,
    transform: RigidTransform | None = None,
) -> None:
    """Write an image on another grid, block by block of the target.

    Memory holds one block of the target and the part of the image that lies under it. Where both grids are one and
    nothing is transformed, voxels are copied as they are.

    Parameters
    ----------
    moving : array-like, shape of `moving_grid`
        Numpy, zarr or dask array.
    moving_grid, target_grid : Grid
        In any orientation to each other.
    out : array-like, shape of `target_grid`
        Numpy or zarr array of floats; for 'nearest', or where nothing is resampled, of the image's own type.
    interpolation : {'linear', 'bspline', 'nearest'}
        Nearest for labels.
    outside : float
        Value of voxels outside the moving image: -1024 for CT, 0 for PET and labels.
    transform : RigidTransform, optional
        From the target's world to the moving image's; left out when both are in one frame of reference.

    Raises
    ------
    SettingsError
        For an unknown interpolation.
    ValueError
        When an array does not have its grid's shape.
    """
    source = moving_grid if transform is None else transform.moved(moving_grid)
    if not source.matches(target_grid, SAME_MM):
        resample_to(out, moving, source, target_grid, interpolation=interpolation, fill=outside)
        return
    fill_blocks(
        lambda region: read(moving, region),
        shape=target_grid.shape,
        dtype=np.dtype(getattr(out, "dtype", moving.dtype)),
        target=out,
        blocks=write_unit(out) or DEFAULT_BLOCK,
        workers=1,
    )


def overlap_share(moving_grid: Grid, target_grid: Grid) -> float:
    """Share of the target's box (voxel edges, not centres) that the moving image's box covers.

    Parameters
    ----------
    moving_grid, target_grid : Grid
        Oblique to each other or not, in one world.

    Returns
    -------
    float in [0, 1]
        0 where the boxes do not meet.
    """
    from scipy.optimize import linprog
    from scipy.spatial import ConvexHull, HalfspaceIntersection

    # In units of the target's box, where it is the cube from 0 to 1: the moving box is a parallelepiped in it.
    into = np.linalg.solve(moving_grid.affine, target_grid.affine)
    sizes = np.array(target_grid.shape, dtype=float)
    turn = into[:3, :3] * sizes / np.array(moving_grid.shape)[:, None]
    shift = (into[:3, :3] @ np.full(3, -0.5) + into[:3, 3] + 0.5) / np.array(moving_grid.shape)
    normals = np.vstack([np.eye(3), -np.eye(3), turn, -turn])
    limits = np.concatenate([np.ones(3), np.zeros(3), 1.0 - shift, shift])
    lengths = np.linalg.norm(normals, axis=1)
    # The largest ball within gives a point inside.
    found = linprog(
        [0, 0, 0, -1],
        A_ub=np.column_stack([normals, lengths]),
        b_ub=limits,
        bounds=[(None, None)] * 3 + [(0, None)],
    )
    if found.x is None or found.x[3] < 1e-9:
        return 0.0
    planes = np.column_stack([normals, -limits]) / lengths[:, None]
    corners = HalfspaceIntersection(planes, found.x[:3]).intersections
    return min(1.0, float(ConvexHull(corners).volume))


def register_rigid(
    fixed: Readable, fixed_grid: Grid, moving: Readable, moving_grid: Grid, *, seed: int
) -> tuple[RigidTransform, dict[str, float]]:
    """The rigid motion that brings two images of one subject together, of whatever contrast.

    Mattes mutual information (Mattes et al., IEEE Trans Med Imaging 2003, 22:120) on three levels of resolution, by
    SimpleITK. Starts from the world as it is or, where more information is shared so, from common centres. One thread
    and a seed: the same images give the same numbers.

    Parameters
    ----------
    fixed, moving : array-like, shape (z, y, x)
        Images of one channel, read block by block.
    fixed_grid, moving_grid : Grid
        Their grids.
    seed : int
        Which voxels the metric looks at.

    Returns
    -------
    transform : RigidTransform
        From the world of the fixed image to that of the moving one, about the centre of the fixed image.
    facts : dict
        `information_before`, `information_after`: mutual information in nat, at the start and at the end;
        `turn_degrees`; `shift_mm`, how far the centre of the fixed image moves.

    Raises
    ------
    Rejected
        NOT_REGISTERED: the images share less information than before or no more than noise does, the turn is over 45
        degrees, or the centre moves from the start by more than half the field of view.
    """
    centre = _centre(fixed_grid)
    still = RigidTransform(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), (0.0, 0.0, 0.0), _triple(centre))
    centred = RigidTransform(still.rotation, _triple(_centre(moving_grid) - centre), still.centre_mm)
    starts = [start for start in (still, centred) if overlap_share(start.moved(moving_grid), fixed_grid) > 0]
    images = _working_image(fixed, fixed_grid), _working_image(moving, moving_grid)
    if any(image is None for image in images):
        raise Rejected("NOT_REGISTERED", "an image is the same value everywhere")
    method = _Method(*images, seed=1 + seed % (2**31 - 1))  # 0 would be the clock
    with _one_thread():
        shared = [method.information(start) for start in starts]
        start, before = starts[int(np.argmax(shared))], max(shared)
        end = method.run(start)
        after = method.information(end)
    noise = NOISE_FACTOR * (BINS - 1) ** 2 / (2.0 * method.n_samples)
    if (1 - LOSS) * before <= after < before:
        end, after = start, before
    if after < before or after < noise:
        found = f"mutual information {before:.4f} before, {after:.4f} after; noise alone gives up to {noise:.4f}"
        raise Rejected("NOT_REGISTERED", found)
    _check_limits(start, end, fixed_grid)
    shift_mm = float(np.linalg.norm(end.apply(centre) - centre))
    return end, {
        "information_before": before,
        "information_after": after,
        "turn_degrees": end.turn_degrees,
        "shift_mm": shift_mm,
    }


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums depend on how many threads make them; of the metric, only the number for the whole process tells."""
    import SimpleITK

    before = SimpleITK.ProcessObject.GetGlobalDefaultNumberOfThreads()
    SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(1)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalDefaultNumberOfThreads(before)


def _check_limits(start: RigidTransform, end: RigidTransform, fixed_grid: Grid) -> None:
    if end.turn_degrees > LARGEST_TURN_DEGREES:
        raise Rejected("NOT_REGISTERED", f"a turn of {end.turn_degrees:.1f} degrees")
    centre = _centre(fixed_grid)
    along = np.abs(np.array(fixed_grid.axes) @ (end.apply(centre) - start.apply(centre)))
    shares = along / (np.array(fixed_grid.shape) * np.array(fixed_grid.spacing_mm))
    if shares.max() > LARGEST_SHIFT:
        raise Rejected("NOT_REGISTERED", f"a shift by {shares.max():.0%} of the field of view")


class _Method:
    """SimpleITK's registration of two images, with our settings."""

    def __init__(self, fixed: Any, moving: Any, seed: int) -> None:
        self.fixed, self.moving, self.seed = fixed, moving, seed
        self.n_voxels = math.prod(fixed.GetSize())
        self.n_samples = min(SAMPLES, self.n_voxels)

    def information(self, transform: RigidTransform) -> float:
        """Mutual information in nat; 0 where the images do not meet."""
        method = self._method([1])
        method.SetInitialTransform(_to_itk(transform))
        try:
            return -float(method.MetricEvaluate(self.fixed, self.moving))
        except RuntimeError:  # no sample lies in the moving image
            return 0.0

    def run(self, start: RigidTransform) -> RigidTransform:
        """The transform at which the optimiser ends."""
        size = min(self.fixed.GetSize() + self.moving.GetSize())
        levels = [(factor, mm) for factor, mm in LEVELS if factor == 1 or size // factor >= LEAST_VOXELS]
        method = self._method([factor for factor, _ in levels])
        method.SetShrinkFactorsPerLevel([factor for factor, _ in levels])
        method.SetSmoothingSigmasPerLevel([mm for _, mm in levels])
        method.SetSmoothingSigmasAreSpecifiedInPhysicalUnits(True)
        method.SetOptimizerAsRegularStepGradientDescent(
            learningRate=2.0,
            minStep=1e-3,
            numberOfIterations=200,
            relaxationFactor=0.6,
            gradientMagnitudeTolerance=1e-8,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        transform = _to_itk(start)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self.fixed, self.moving)
        except RuntimeError:
            raise Rejected("NOT_REGISTERED", "the images lost each other on the way") from None
        a, b, c = (_triple(row) for row in np.reshape(transform.GetMatrix(), (3, 3)))
        return RigidTransform((a, b, c), _triple(transform.GetTranslation()), _triple(transform.GetCenter()))

    def _method(self, factors: list[int]) -> Any:
        import SimpleITK

        method = SimpleITK.ImageRegistrationMethod()
        method.SetNumberOfThreads(1)
        method.SetMetricAsMattesMutualInformation(BINS)
        method.SetMetricSamplingStrategy(method.RANDOM)
        shares = [min(1.0, self.n_samples * factor**3 / self.n_voxels) for factor in factors]
        method.SetMetricSamplingPercentagePerLevel(shares, self.seed)
        method.SetInterpolator(SimpleITK.sitkLinear)
        return method


def _to_itk(transform: RigidTransform) -> Any:
    import SimpleITK

    made = SimpleITK.Euler3DTransform()
    made.SetCenter(transform.centre_mm)
    made.SetMatrix(list(itertools.chain(*transform.rotation)))
    made.SetTranslation(transform.translation_mm)
    return made


def _working_image(array: Readable, grid: Grid) -> Any:
    """A SimpleITK image on voxels of a workable size, clipped; None where nothing is to be seen."""
    import SimpleITK

    spacing_mm = np.maximum(grid.spacing_mm, WORK_MM)
    n_voxels = math.prod(grid.shape) * math.prod(grid.spacing_mm) / math.prod(spacing_mm)
    work = grid.with_spacing(_triple(spacing_mm * max(1.0, n_voxels / WORK_VOXELS) ** (1 / 3)))
    voxels: Array = resample(array, grid, work, interpolation="linear")
    low, high = np.percentile(voxels, CLIPPED)
    if low == high:
        low, high = voxels.min(), voxels.max()
    if low == high:
        return None
    image = SimpleITK.GetImageFromArray(voxels.clip(low, high))
    image.SetSpacing(work.spacing_mm[::-1])
    image.SetOrigin(work.origin_mm)
    # ITK's matrix holds the directions of x, y, z in its columns.
    image.SetDirection(np.array(work.axes[::-1]).T.ravel().tolist())
    return image


def _centre(grid: Grid) -> npt.NDArray[np.float64]:
    z, y, x = ((n - 1) / 2 for n in grid.shape)
    return np.array(grid.world((z, y, x)))


def _triple(vector: Any) -> Triple:
    x, y, z = (float(number) for number in vector)
    return (x, y, z)
