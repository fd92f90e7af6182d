"""Meshes: closed whatever the voxels, the right way out, and where the voxels lie in the world."""

import numpy as np
import pytest
from dicom_phantom import grid_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_phantom import GRID, label_of
from mesh_files import is_closed, read_ply, read_stl, volume_of
from polygon_fill import index_of

from cohortseg.io import meshes
from cohortseg.io.meshes import Mesh, surface, write_ply, write_stl
from cohortseg.volume import Grid

MASKS = arrays(bool, array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5), elements=st.booleans())
LEFT = Grid(GRID.shape, GRID.spacing_mm, GRID.origin_mm, (tuple(-c for c in GRID.axes[0]), *GRID.axes[1:]))


def ball(grid: Grid, centre: tuple[float, float, float], radius_mm: float) -> np.ndarray:
    z, y, x = np.indices(grid.shape)
    world = (np.stack([z, y, x, np.ones(grid.shape)], axis=-1) @ grid.affine.T)[..., :3]
    return np.linalg.norm(world - grid.world(centre), axis=-1) <= radius_mm


@given(MASKS)
@settings(max_examples=60, deadline=None)
def test_any_mesh_is_closed_and_holds_no_vertex_twice(mask):
    mesh = surface(mask, grid_of(mask.shape))
    assert is_closed(mesh.faces)
    assert len(np.unique(mesh.vertices.round(6), axis=0)) == len(mesh.vertices)
    assert set(mesh.faces.ravel().tolist()) == set(range(len(mesh.vertices)))
    assert (mesh.volume_mm3 > 0) == mask.any()


@given(MASKS, st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_vertex_lies_half_way_between_a_voxel_inside_and_one_outside(mask, left_handed):
    own = grid_of(mask.shape)
    axes = (tuple(-c for c in own.axes[0]), *own.axes[1:]) if left_handed else own.axes
    grid = Grid(mask.shape, own.spacing_mm, own.origin_mm, axes)
    mesh = surface(mask, grid)
    padded = np.pad(mask, 1)
    doubled = 2 * index_of(grid, mesh.vertices) + 2
    np.testing.assert_allclose(doubled, doubled.round(), atol=1e-6)
    doubled = doubled.round().astype(int)
    assert (doubled % 2).sum() == len(doubled), "half way along one axis only"
    low, high = doubled // 2, (doubled + 1) // 2
    assert (padded[tuple(low.T)] != padded[tuple(high.T)]).all()
    n_faces_of_voxels = sum((np.diff(padded.astype(int), axis=axis) != 0).sum() for axis in range(3))
    assert len(mesh.vertices) == n_faces_of_voxels


@pytest.mark.parametrize("grid", [GRID, LEFT], ids=["right-handed", "left-handed"])
def test_a_single_voxel_is_an_octahedron_about_its_place_in_the_world(grid):
    mask = np.zeros(grid.shape, bool)
    mask[5, 3, 8] = True
    mesh = surface(mask, grid)
    assert mesh.faces.shape == (8, 3)
    np.testing.assert_allclose(mesh.vertices.mean(axis=0), grid.world((5, 3, 8)), atol=1e-9)
    assert mesh.volume_mm3 == pytest.approx(2.5 * 0.8 * 0.7 / 6)


@pytest.mark.parametrize("left_handed", [False, True])
def test_a_ball_has_nearly_the_volume_of_its_voxels_and_faces_outwards(left_handed):
    own = grid_of((17, 50, 56))
    grid = Grid(own.shape, own.spacing_mm, own.origin_mm, LEFT.axes) if left_handed else own
    mask = ball(grid, (8.0, 24.0, 28.0), 16.0)
    mesh = surface(mask, grid)
    voxels_mm3 = mask.sum() * grid.voxel_ml * 1000
    assert mesh.volume_mm3 == pytest.approx(voxels_mm3, rel=0.02)
    assert volume_of(mesh.vertices[mesh.faces]) == pytest.approx(mesh.volume_mm3)
    corners = mesh.vertices[mesh.faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    outwards = corners.mean(axis=1) - np.array(grid.world((8.0, 24.0, 28.0)))
    assert ((normals * outwards).sum(axis=1) > 0).all()
    apart = np.linalg.norm(mesh.vertices - grid.world((8.0, 24.0, 28.0)), axis=1)
    assert apart.min() > 16.0 - 2.5
    assert apart.max() < 16.0 + 2.5


def test_a_cavity_is_taken_off_the_volume():
    solid = np.ones((5, 6, 7), bool)
    hollow = solid.copy()
    hollow[2, 3, 3] = False
    grid = grid_of(solid.shape)
    lost = surface(solid, grid).volume_mm3 - surface(hollow, grid).volume_mm3
    assert lost == pytest.approx(2.5 * 0.8 * 0.7 / 6)
    assert is_closed(surface(hollow, grid).faces)


def test_the_mesh_is_closed_at_the_edge_of_the_image():
    grid = grid_of((3, 4, 5))
    mesh = surface(np.ones(grid.shape, bool), grid)
    assert is_closed(mesh.faces)
    index = index_of(grid, mesh.vertices)
    np.testing.assert_allclose(index.min(axis=0), -0.5, atol=1e-9)
    np.testing.assert_allclose(index.max(axis=0), np.array(grid.shape) - 0.5, atol=1e-9)


def test_slabs_make_no_difference(monkeypatch):
    mask = np.random.default_rng(5).random((9, 6, 7)) < 0.6
    grid = grid_of(mask.shape)
    whole = surface(mask, grid)
    for size in (1, 2, 4):
        monkeypatch.setattr(meshes, "SLAB", size)
        parts = surface(mask, grid)
        np.testing.assert_allclose(parts.vertices, whole.vertices)
        assert is_closed(parts.faces)
        assert parts.volume_mm3 == pytest.approx(whole.volume_mm3)


def test_an_empty_mask_has_an_empty_mesh(tmp_path):
    mesh = surface(np.zeros(GRID.shape, bool), GRID)
    assert (len(mesh.vertices), len(mesh.faces), mesh.volume_mm3) == (0, 0, 0.0)
    write_stl(tmp_path / "m.stl", mesh)
    assert len(read_stl(tmp_path / "m.stl")[1]) == 0


@pytest.mark.parametrize("grid", [GRID, LEFT], ids=["right-handed", "left-handed"])
@pytest.mark.parametrize("number", [1, 2])
def test_a_file_of_either_format_holds_the_closed_mesh_in_patient_coordinates(tmp_path, grid, number):
    mask = label_of().array == number
    mesh = surface(mask, grid)
    write_stl(tmp_path / "m.stl", mesh)
    write_ply(tmp_path / "m.ply", mesh)
    head, normals, corners = read_stl(tmp_path / "m.stl")
    assert not head.startswith(b"solid"), "that would be a text file to most readers"
    assert b"SPACE=LPS" in head
    np.testing.assert_allclose(corners, mesh.vertices[mesh.faces], atol=1e-4)
    lengths = np.linalg.norm(normals, axis=1)
    np.testing.assert_allclose(lengths, 1.0, atol=1e-5)
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert ((across * normals).sum(axis=1) > 0).all()
    # The file has no indices: corners that are bit by bit the same are one.
    unique, faces = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    assert is_closed(faces.reshape(-1, 3))
    assert len(unique) == len(mesh.vertices)
    assert volume_of(corners) == pytest.approx(mesh.volume_mm3, rel=1e-3)
    text, vertices, own = read_ply(tmp_path / "m.ply")
    assert "SPACE=LPS" in text
    np.testing.assert_allclose(vertices, mesh.vertices, atol=1e-4)
    np.testing.assert_array_equal(own, mesh.faces)


def test_equal_masks_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        mesh = surface(label_of().array == 1, GRID)
        write_stl(tmp_path / f"{name}.stl", mesh)
        write_ply(tmp_path / f"{name}.ply", mesh)
    assert (tmp_path / "a.stl").read_bytes() == (tmp_path / "b.stl").read_bytes()
    assert (tmp_path / "a.ply").read_bytes() == (tmp_path / "b.ply").read_bytes()


def test_the_volume_keeps_its_digits_far_from_the_origin():
    mask = np.ones((4, 5, 6), bool)
    near, far = (
        surface(mask, Grid(mask.shape, (2.5, 0.8, 0.7), origin)) for origin in ((0.0, 0.0, 0.0), (1e6, -1e6, 1e6))
    )
    assert far.volume_mm3 == pytest.approx(near.volume_mm3, rel=1e-8)
    assert Mesh(np.zeros((0, 3)), np.zeros((0, 3), int)).volume_mm3 == 0.0
