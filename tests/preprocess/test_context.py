"""Resolution is given up for context where the labelled structures are large, and only as far as they bear."""

import numpy as np
import pytest

from cohortseg.preprocess.context import with_context

FINE = {"value": [3.0, 1.0, 1.0], "because": "median"}


def case_of(box_mm, fill=0.5, spacing_mm=(3.0, 1.0, 1.0), image_mm=(300.0, 200.0, 250.0)):
    """A fingerprint with one structure in a box that begins at voxel (1, 2, 3)."""
    spacing, first = np.array(spacing_mm), np.array((1, 2, 3))
    edges = np.maximum(1, np.round(np.array(box_mm) / spacing)).astype(int)
    voxels = round(fill * float(np.prod(edges)))
    return {
        "shape": np.round(np.array(image_mm) / spacing).astype(int).tolist(),
        "spacing_mm": list(spacing_mm),
        "foreground_box": [first.tolist(), (first + edges).tolist()],
        "voxels": [10**6, voxels],
        "volume_ml": [0.0, voxels * float(np.prod(spacing)) / 1000],
    }


def test_a_large_tumour_gets_a_voxel_with_which_the_patch_sees_it_and_as_much_on_every_side():
    found = with_context(FINE, [case_of((60.0, 50.0, 55.0))] * 3, 3, 60_000)
    z, y, x = found["value"]
    assert y == x > 1.0
    wanted = np.array([180.0, 150.0, 165.0])
    assert np.prod(wanted / [z, y, x]) == pytest.approx(60_000, rel=1e-6)
    assert z == max(3.0, y)
    assert "165 mm" in found["because"]
    assert "median; but" in found["because"]


def test_nothing_is_wanted_beyond_the_image():
    small = case_of((90.0, 90.0, 90.0), image_mm=(150.0, 120.0, 130.0))
    large = case_of((90.0, 90.0, 90.0))
    assert with_context(FINE, [small], 3, 60_000)["value"][1] < with_context(FINE, [large], 3, 60_000)["value"][1]


def test_a_patch_that_holds_enough_changes_nothing():
    assert with_context(FINE, [case_of((12.0, 20.0, 15.0))], 3, 60_000) is FINE


def test_small_structures_keep_twelve_voxels_across():
    """The tumour is large in most, but the tenth percentile is a ball of 24 mm."""
    ball_ml = np.pi / 6 * 2.4**3
    cases = [case_of((120.0, 100.0, 110.0)) for _ in range(10)]
    cases += [case_of((24.0, 24.0, 24.0)) | {"volume_ml": [0.0, ball_ml]} for _ in range(4)]
    assert with_context(FINE, cases, 3, 20_000)["value"] == pytest.approx([3.0, 2.0, 2.0])


def test_scattered_lesions_and_unlabelled_cohorts_keep_their_resolution():
    assert with_context(FINE, [case_of((120.0, 100.0, 110.0), fill=0.01)], 3, 60_000) is FINE
    assert with_context(FINE, [case_of((1, 1, 1)) | {"foreground_box": None}], 3, 60_000) is FINE


def test_in_a_plane_the_distance_of_planes_plays_no_part():
    flat = {"value": [None, 0.5, 0.5], "because": "median"}
    picture = case_of((1.0, 100.0, 80.0), spacing_mm=(1.0, 0.5, 0.5), image_mm=(1.0, 140.0, 200.0), fill=0.785)
    found = with_context(flat, [picture], 2, 10_000)
    assert found["value"][0] is None
    assert found["value"][1] == found["value"][2]
    assert 140.0 * 200.0 / found["value"][1] ** 2 == pytest.approx(10_000, rel=1e-6)
