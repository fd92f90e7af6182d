"""Images written slab by slab: readers find the same image as in the file that was written whole."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import SimpleITK

from cohortseg.errors import StudyError
from cohortseg.io.itk import read_image, write_image
from cohortseg.io.slab_writer import write_slabs
from cohortseg.volume import Grid, Volume

ROW, COLUMN = np.array([0.8, 0.48, -0.36]), np.array([0.0, 0.6, 0.8])
GRID = Grid(
    (7, 14, 11), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25), (tuple(np.cross(ROW, COLUMN)), tuple(COLUMN), tuple(ROW))
)
THIN = Grid((1, 14, 11), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25))
ENDINGS = (".nii.gz", ".nrrd", ".mha")


def image_of(grid: Grid, dtype: type) -> Volume:
    return Volume(np.random.default_rng(1).integers(0, 200, grid.shape).astype(dtype), grid)


def slabs_of(volume: Volume, thickness: int = 3) -> list[tuple[int, np.ndarray]]:
    return [(z, volume.array[z : z + thickness]) for z in range(0, len(volume.array), thickness)]


@pytest.mark.parametrize("grid", [GRID, THIN])
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float32])
@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_holds_the_image_that_is_written_whole(grid: Grid, dtype: type, ending: str, tmp_path: Path) -> None:
    volume = image_of(grid, dtype)
    whole, parts = tmp_path / f"whole{ending}", tmp_path / f"parts{ending}"
    write_image(whole, volume)
    write_slabs(parts, grid, dtype, slabs_of(volume))
    expected, found = SimpleITK.ReadImage(str(whole)), SimpleITK.ReadImage(str(parts))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(found), SimpleITK.GetArrayFromImage(expected))
    for what in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection", "GetPixelID"):
        assert getattr(found, what)() == getattr(expected, what)(), what
    np.testing.assert_array_equal(read_image(parts).array, read_image(whole).array)
    assert read_image(parts).grid.matches(read_image(whole).grid)
    assert sorted(tmp_path.iterdir()) == [parts, whole]


def test_a_nifti_file_is_byte_for_byte_the_same_when_unpacked(tmp_path: Path) -> None:
    volume = image_of(GRID, np.uint8)
    write_image(tmp_path / "whole.nii.gz", volume)
    write_slabs(tmp_path / "parts.nii.gz", GRID, np.uint8, slabs_of(volume))
    whole, parts = (gzip.decompress((tmp_path / f"{name}.nii.gz").read_bytes()) for name in ("whole", "parts"))
    assert parts == whole


@pytest.mark.parametrize("ending", ENDINGS)
def test_slabs_of_any_thickness_give_the_same_bytes(ending: str, tmp_path: Path) -> None:
    volume = image_of(GRID, np.uint8)
    found = []
    for thickness in (1, 3, 7):
        path = tmp_path / f"{thickness}{ending}"
        write_slabs(path, GRID, np.uint8, slabs_of(volume, thickness))
        found.append(path.read_bytes())
    assert found[0] == found[1] == found[2]


def test_what_does_not_cover_the_grid_leaves_no_file(tmp_path: Path) -> None:
    slabs = slabs_of(image_of(GRID, np.uint8))
    for wrong in (slabs[:-1], slabs[1:]):
        with pytest.raises(StudyError, match="slabs"):
            write_slabs(tmp_path / "image.nrrd", GRID, np.uint8, wrong)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_so_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="by slabs"):
        write_slabs(tmp_path / "image.png", GRID, np.uint8, [])
    long = Grid((40000, 2, 2), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    with pytest.raises(ValueError, match="32767"):
        write_slabs(tmp_path / "image.nii.gz", long, np.uint8, [])
