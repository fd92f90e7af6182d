"""A stored case in three planes: the right slices, the right side up, outlines of the right label."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from study_by_hand import case_of, study_of, write_case

from cohortseg.io import store
from cohortseg.io.sidecar import write_json
from cohortseg.steps.views import draw_case, thumbnail, window_hu
from cohortseg.volume import Grid, Volume

GRID = Grid((70, 24, 30), (1.0, 4.0, 3.0), (5.0, 6.0, 7.0))
"""More slices than are read at once."""


def opened(picture, mode):
    return np.asarray(Image.open(BytesIO(picture)).convert(mode)).astype(int)


@pytest.fixture
def layout(tmp_path):
    layout = study_of(tmp_path / "study", case_of("p1_ct1"))
    image = np.zeros(GRID.shape, np.int16)
    image[66:, :, :] = 500  # the head end
    image[:, 20:, :] += 200  # the back
    label = np.zeros(GRID.shape, np.uint8)
    label[62:66, 10:14, 4:9] = 1
    label[63, 9:15, 4:9] = 1
    write_case(layout, "p1_ct1", image=Volume(image, GRID), label=Volume(label, GRID))
    prediction = np.zeros(GRID.shape, np.uint8)
    prediction[60:68, 11:14, 15:20] = 2
    store.write_volume(layout.prediction("otsu", "untrained", "p1_ct1") / "post.zarr", Volume(prediction, GRID))
    return layout


def test_three_planes_begin_with_the_largest_reference(layout):
    label = store.open_array(layout.prediction("otsu", "untrained", "p1_ct1") / "post.zarr")
    planes, (outlines,) = draw_case(layout, "p1_ct1", [label], n_labels=2, size=(6, 60))
    assert [plane.name for plane in planes] == ["axial", "coronal", "sagittal"]
    axial, coronal, sagittal = planes
    assert axial.numbers[axial.key] == 64
    assert list(axial.numbers) == sorted(axial.numbers, reverse=True)  # from head to foot
    assert (axial.n_slices, coronal.n_slices, sagittal.n_slices) == (70, 24, 30)
    assert len(axial.numbers) == 6
    assert all(plane.reference for plane in planes)
    assert all(outlines)
    assert opened(axial.image, "L").shape == (6 * axial.size_px[0], axial.size_px[1])


def test_the_head_is_on_top_and_the_back_at_the_bottom(layout):
    planes, _ = draw_case(layout, "p1_ct1", [], n_labels=2, size=(200, 80))
    axial, _, sagittal = planes
    height = axial.size_px[0]
    strip = opened(axial.image, "L")
    piece = strip[axial.key * height : (axial.key + 1) * height]
    assert piece[-3:].mean() > piece[: height // 2].mean() + 40  # the back is below
    height = sagittal.size_px[0]
    piece = opened(sagittal.image, "L")[:height]
    assert piece[:3].mean() > piece[-3:].mean() + 40  # the head is on top
    assert piece[-10:, -3:].mean() > piece[-10:, :5].mean() + 40  # the nose on the left


def test_a_case_without_any_label_is_shown_whole(tmp_path):
    layout = study_of(tmp_path / "study", case_of("p2_ct1"))
    write_case(layout, "p2_ct1")
    planes, drawn = draw_case(layout, "p2_ct1", [], n_labels=1, size=(24, 80))
    assert drawn == []
    assert [list(plane.numbers) for plane in planes] == [[5, 4, 3, 2, 1], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, 6]]
    assert not any(plane.reference for plane in planes)


def test_a_single_picture_has_one_plane(tmp_path):
    layout = study_of(tmp_path / "study", case_of("p3_gm1"))
    grid = Grid((1, 9, 12), (1.0, 0.5, 0.5), (0.0, 0.0, 0.0))
    write_case(layout, "p3_gm1", image=Volume(np.arange(108, dtype=np.int16).reshape(grid.shape), grid))
    planes, _ = draw_case(layout, "p3_gm1", [], n_labels=1, size=(24, 80))
    assert [(plane.name, len(plane.numbers)) for plane in planes] == [("axial", 1)]


def test_a_thumbnail_is_small_and_has_the_proportions_of_the_patient(layout):
    assert opened(thumbnail(layout, "p1_ct1"), "L").shape == (96, 90)


def plan_for(layout, modality="CT", name="window", low=-160.0, high=240.0):
    numbers = {"low": low, "high": high, "mean": 0.0, "sd": 1.0}
    chosen = {"image": {"name": name, "numbers": numbers, "group": None}}
    write_json(layout.plan, {"channels": ["image"], "modality": {"image": modality}, "normalisation": chosen})


def test_a_ct_is_shown_in_the_window_of_the_plan(layout):
    plan_for(layout, low=0.0, high=1000.0)
    planes, _ = draw_case(layout, "p1_ct1", [], n_labels=1, size=(70, 70))
    coronal = opened(planes[1].image, "L")[: planes[1].size_px[0]]
    assert coronal[1].mean() == pytest.approx(127, abs=6)  # 500 of 0 to 1000
    assert coronal[-1].mean() == pytest.approx(0, abs=6)
    assert opened(thumbnail(layout, "p1_ct1"), "L").max() == pytest.approx(51, abs=8)  # the back: 200


def test_other_images_and_other_normalisations_are_shown_by_their_own_intensities(layout):
    assert window_hu(layout) is None  # no plan
    plan_for(layout, modality="MR")
    assert window_hu(layout) is None
    plan_for(layout, name="zscore")
    assert window_hu(layout) is None


def test_a_window_of_labelled_voxels_is_widened_to_that_of_soft_tissue(layout):
    plan_for(layout, name="ct", low=20.0, high=60.0)
    assert window_hu(layout) == (-160.0, 240.0)
    plan_for(layout, name="ct", low=-900.0, high=100.0)
    assert window_hu(layout) == (-900.0, 100.0)
