"""A channel on the grid of another: copied, resampled through the world, or registered; what cannot be is refused."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cohortseg.errors import Rejected
from cohortseg.preprocess.align import RigidTransform, align_to, overlap_share, register_rigid
from cohortseg.volume import Grid

STILL = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
FIXED = Grid((38, 60, 69), (2.1, 1.5, 1.6), (-50.0, -40.0, 12.0))
MOVING = Grid((40, 66, 74), (1.9, 1.4, 1.5), (-52.0, -42.0, 11.0))


def turned(*degrees):
    """Axes z, y, x turned about x, y and z."""
    columns = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix().T
    z, y, x = (tuple(float(number) for number in columns[axis]) for axis in (2, 1, 0))
    return z, y, x


def centre_of(grid):
    return np.array(grid.world(tuple((n - 1) / 2 for n in grid.shape)))


def world_of(grid):
    """World positions (x, y, z) of all voxels, shape (z, y, x, 3)."""
    index = np.stack(np.meshgrid(*map(np.arange, grid.shape), indexing="ij"), axis=-1)
    return index @ grid.affine[:3, :3].T + grid.affine[:3, 3]


def anatomy(points_mm, *, inverted=False):
    """A lopsided body in the world: four ellipsoids, none where another one mirrored or turned would be."""
    middle = centre_of(FIXED)
    values = np.zeros(points_mm.shape[:-1])
    for centre, radii, value in (
        ((0, 0, 0), (38, 27, 30), 100.0),
        ((14, 6, 8), (12, 8, 9), 250.0),
        ((-17, -9, -10), (7, 11, 6), 180.0),
        ((4, -15, 14), (6, 4, 8), 20.0),
    ):
        depth = 1.0 - np.sqrt((((points_mm - middle - centre) / radii) ** 2).sum(axis=-1))
        # Soft edges, as any scanner makes them.
        share = np.clip(depth * min(radii) / 4.0 + 0.5, 0.0, 1.0)
        values += share * ((300.0 - value if inverted else value) - values)
    return values


def linear(points_mm):
    """A value that linear interpolation gives back exactly, anywhere."""
    return points_mm @ np.array([0.7, -1.3, 2.1]) + 5.0


# ---- by the place in the world --------------------------------------------------------------------------------------


def test_voxels_are_copied_where_grids_are_one():
    voxels = np.random.default_rng(2).integers(-1000, 3000, FIXED.shape).astype(np.int16)
    out = np.zeros(FIXED.shape, np.int16)
    z, y, x = FIXED.origin_mm[2] + 0.005, FIXED.origin_mm[1], FIXED.origin_mm[0]
    align_to(voxels, Grid(FIXED.shape, FIXED.spacing_mm, (x, y, z)), FIXED, out, outside=-1024.0)
    np.testing.assert_array_equal(out, voxels)


@pytest.mark.parametrize("degrees", [(0, 0, 0), (7, -11, 23)])
def test_a_channel_keeps_its_place_in_the_world_however_its_grid_lies(degrees):
    axes = turned(*degrees)
    corner = centre_of(FIXED) - np.array(axes).T @ (np.array((79, 79, 79)) * 0.9)
    grid = Grid((80, 80, 80), (1.8, 1.8, 1.8), tuple(float(one) for one in corner), axes)
    out = np.full(FIXED.shape, np.nan, np.float32)
    align_to(linear(world_of(grid)).astype(np.float32), grid, FIXED, out, outside=-999.0)
    index = (world_of(FIXED) - grid.origin_mm) @ np.array(grid.axes).T / grid.spacing_mm
    inside = ((index >= 0) & (index <= np.array(grid.shape) - 1)).all(axis=-1)
    assert inside.mean() > 0.9
    np.testing.assert_allclose(out[inside], linear(world_of(FIXED))[inside], atol=2e-3)


def test_voxels_beside_the_channel_hold_the_value_of_outside():
    grid = Grid((10, *FIXED.shape[1:]), FIXED.spacing_mm, FIXED.world((8, 0, 0)))
    out = np.zeros(FIXED.shape, np.float32)
    align_to(np.ones(grid.shape, np.float32), grid, FIXED, out, outside=-1024.0)
    np.testing.assert_array_equal(out[8:18], 1)
    np.testing.assert_array_equal(np.delete(out, range(8, 18), axis=0), -1024)


def test_a_transform_says_where_to_look():
    # A quarter turn about the world's z, then a shift: by hand.
    quarter = RigidTransform(((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0)), (1.0, 2.0, 3.0), (10.0, 0.0, 0.0))
    np.testing.assert_allclose(quarter.apply([12.0, 5.0, 7.0]), [10 - 5 + 1, 2 + 2, 10])
    assert quarter.turn_degrees == pytest.approx(90)
    assert RigidTransform.from_dict(quarter.as_dict()) == quarter
    grid = quarter.moved(MOVING)
    for index in ((0, 0, 0), (3, 7, 11)):
        np.testing.assert_allclose(quarter.apply(grid.world(index)), MOVING.world(index), atol=1e-9)


def test_the_covered_share_of_boxes():
    assert overlap_share(FIXED, FIXED) == pytest.approx(1)
    half = Grid((19, *FIXED.shape[1:]), FIXED.spacing_mm, FIXED.origin_mm)
    assert overlap_share(half, FIXED) == pytest.approx(0.5)
    assert overlap_share(FIXED, half) == pytest.approx(1)
    assert overlap_share(Grid(FIXED.shape, FIXED.spacing_mm, (-50.0, -40.0, 92.0)), FIXED) == 0
    # A square turned by 45 degrees about the middle of an equal one: an octagon of 2 (sqrt(2) - 1) of its area.
    square = Grid((4, 100, 100), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    axes = turned(0, 0, 45)
    corner = centre_of(square) - np.array(axes).T @ np.array([1.5, 49.5, 49.5])
    about = Grid(square.shape, square.spacing_mm, tuple(float(one) for one in corner), axes)
    assert overlap_share(about, square) == pytest.approx(2 * (np.sqrt(2) - 1), abs=1e-6)


# ---- by registration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inverted", [False, True])
def test_a_turned_body_is_brought_back_within_a_millimetre(inverted):
    rotation = Rotation.from_euler("xyz", (4, -3, 6), degrees=True).as_matrix()
    middle, shift = centre_of(FIXED), np.array([5.0, -3.0, 4.0])
    fixed = anatomy(world_of(FIXED)).astype(np.float32)
    # A point of the moving world shows what lay where the motion is undone.
    moving = anatomy((world_of(MOVING) - middle - shift) @ rotation + middle, inverted=inverted).astype(np.float32)
    found, facts = register_rigid(fixed, FIXED, moving, MOVING, seed=3)
    body = world_of(FIXED)[fixed > 0]
    there = (body - middle) @ rotation.T + middle + shift
    assert np.linalg.norm(found.apply(body) - there, axis=1).max() < 1.0
    assert facts["information_after"] > facts["information_before"] > 0
    assert facts["turn_degrees"] == pytest.approx(np.degrees(Rotation.from_matrix(rotation).magnitude()), abs=1)
    assert facts["shift_mm"] == pytest.approx(np.linalg.norm(shift), abs=1)


def test_the_same_images_give_the_same_numbers():
    fixed, moving = (anatomy(world_of(grid)).astype(np.float32) for grid in (FIXED, MOVING))
    first, second = (register_rigid(fixed, FIXED, moving, MOVING, seed=3) for _ in range(2))
    assert first == second
    assert first[0].turn_degrees < 1


def test_a_body_that_lies_elsewhere_in_the_world_is_found_by_its_centre():
    away = Grid(FIXED.shape, FIXED.spacing_mm, tuple(float(one) for one in np.array(FIXED.origin_mm) + 500))
    fixed = anatomy(world_of(FIXED)).astype(np.float32)
    found, _ = register_rigid(fixed, FIXED, fixed, away, seed=3)
    np.testing.assert_allclose(found.apply(centre_of(FIXED)), centre_of(away), atol=1)


def test_noise_is_not_registered():
    draw = np.random.default_rng(7)
    small = Grid((16, 20, 24), FIXED.spacing_mm, FIXED.origin_mm)
    fixed, moving = (draw.normal(size=small.shape).astype(np.float32) for _ in range(2))
    with pytest.raises(Rejected) as caught:
        register_rigid(fixed, small, moving, small, seed=1)
    assert caught.value.reason == "NOT_REGISTERED"


def test_an_image_of_one_value_is_not_registered():
    fixed = anatomy(world_of(FIXED)).astype(np.float32)
    with pytest.raises(Rejected, match="NOT_REGISTERED: an image is the same value everywhere"):
        register_rigid(fixed, FIXED, np.zeros(MOVING.shape, np.float32), MOVING, seed=1)
