"""All metrics of one label: the keys, the reasons, the dictionary, the memory and what is refused."""

import math
import tracemalloc

import numpy as np
import pytest

from cohortseg.metrics.case import MASK_COLUMNS, case_metrics, measure_case

KEYS = [
    "dice",
    "jaccard",
    "sensitivity",
    "precision",
    "specificity",
    "accuracy",
    "segmentation_accuracy",
    "hd_mm",
    "hd95_mm",
    "assd_mm",
    "nsd",
    "nsd_tolerance_mm",
    "boundary_jaccard",
    "boundary_band_mm",
    "added_path_mm",
    "reference_ml",
    "prediction_ml",
    "volume_difference_ml",
    "relative_volume_difference",
    "n_lesions_reference",
    "n_lesions_prediction",
    "lesion_sensitivity",
    "lesion_precision",
    "lesion_f1",
    "lesion_dice",
    "not_judged_ml",
    "undefined",
]

EMPTY = np.zeros((5, 6, 7), bool)
SPACING = (3.0, 2.0, 1.0)


@pytest.fixture
def reference() -> np.ndarray:
    mask = EMPTY.copy()
    mask[1:3, 1:4, 1:5] = True
    return mask


def measure(reference: np.ndarray, prediction: np.ndarray) -> dict[str, float | int | str]:
    return case_metrics(reference, prediction, spacing_mm=SPACING, nsd_tolerance_mm=2.0)


def undefined(row: dict[str, float | int | str]) -> set[str]:
    return {name for name, value in row.items() if isinstance(value, float) and math.isnan(value)}


def test_the_columns_are_those_of_the_contract_and_of_the_dictionary(reference: np.ndarray) -> None:
    assert list(measure(reference, reference)) == KEYS == list(MASK_COLUMNS)


def test_values_are_plain_python_numbers_within_their_declared_range(reference: np.ndarray) -> None:
    prediction = np.roll(reference, 1, axis=2)
    for name, value in measure(reference, prediction).items():
        assert type(value) in (float, int, str), name
        limits = MASK_COLUMNS[name].range
        assert (limits is None) == isinstance(value, str), name
        assert limits is None or limits[0] <= value <= limits[1], name


def test_a_block_moved_along_x_gives_the_numbers_worked_out_by_hand(reference: np.ndarray) -> None:
    row = measure(reference, np.roll(reference, 1, axis=2))  # 24 voxels of 6 mm3, 18 shared, 210 in the image
    assert row == {
        "dice": 0.75,
        "jaccard": 0.6,
        "sensitivity": 0.75,
        "precision": 0.75,
        "specificity": 180 / 186,
        "accuracy": 198 / 210,
        "segmentation_accuracy": 0.5,
        "hd_mm": pytest.approx(1.0),
        "hd95_mm": pytest.approx(1.0),
        "assd_mm": pytest.approx(12 / 48),  # two slices thick: all is surface; six voxels a side lie 1 mm off
        "nsd": 1.0,
        "nsd_tolerance_mm": 2.0,
        "boundary_jaccard": 0.6,  # every voxel of either mask lies within 2 mm of the reference's surface
        "boundary_band_mm": 2.0,
        "added_path_mm": 2 * 4 * 1.5,  # 4 of 10 outline pixels a slice are no outline there; pixels of 1.5 mm
        "reference_ml": 0.144,
        "prediction_ml": 0.144,
        "volume_difference_ml": 0.0,
        "relative_volume_difference": 0.0,
        "n_lesions_reference": 1,
        "n_lesions_prediction": 1,
        "lesion_sensitivity": 1.0,
        "lesion_precision": 1.0,
        "lesion_f1": 1.0,
        "lesion_dice": 0.75,
        "not_judged_ml": 0.0,
        "undefined": "",
    }


def test_the_volume_difference_is_prediction_minus_reference(reference: np.ndarray) -> None:
    prediction = reference.copy()
    prediction[2] = False
    row = measure(reference, prediction)
    assert row["reference_ml"] == pytest.approx(0.144)
    assert row["prediction_ml"] == pytest.approx(0.072)
    assert row["volume_difference_ml"] == pytest.approx(-0.072)


def test_two_empty_masks_score_nothing_and_say_so() -> None:
    row = measure(EMPTY, EMPTY)
    counted = {"nsd_tolerance_mm", "boundary_band_mm", "reference_ml", "prediction_ml", "volume_difference_ml"}
    counted |= {"not_judged_ml"}
    assert row["undefined"] == "both_empty"
    assert undefined(row) == set(KEYS) - counted - {"n_lesions_reference", "n_lesions_prediction", "undefined"}
    assert row["n_lesions_reference"] == row["n_lesions_prediction"] == 0


def test_an_empty_prediction_is_dice_zero_without_distances(reference: np.ndarray) -> None:
    row = measure(reference, EMPTY)
    assert row["undefined"] == "prediction_empty"
    assert row["dice"] == row["lesion_sensitivity"] == 0.0
    assert undefined(row) == {"hd_mm", "hd95_mm", "assd_mm", "nsd", "precision", "lesion_precision"}


def test_an_empty_reference_is_dice_zero_without_distances(reference: np.ndarray) -> None:
    row = measure(EMPTY, reference)
    assert row["undefined"] == "reference_empty"
    assert row["dice"] == row["lesion_precision"] == 0.0
    surfaces = {"hd_mm", "hd95_mm", "assd_mm", "nsd", "boundary_jaccard", "added_path_mm", "relative_volume_difference"}
    assert undefined(row) == surfaces | {"sensitivity", "segmentation_accuracy", "lesion_sensitivity"}


def test_shapes_that_differ_are_refused_by_name(reference: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"reference has shape \(5, 6, 7\), prediction \(5, 6, 6\)"):
        measure(reference, reference[..., :-1])


@pytest.mark.parametrize(
    ("spacing_mm", "tolerance_mm", "named"),
    [
        ((1.0, 0.0, 1.0), 1.0, "spacing_mm"),
        ((1.0, math.nan, 1.0), 1.0, "spacing_mm"),
        ((1.0, 1.0), 1.0, "spacing_mm"),
        ((1.0, 1.0, 1.0), -1.0, "nsd_tolerance_mm"),
        ((1.0, 1.0, 1.0), math.inf, "nsd_tolerance_mm"),
    ],
)
def test_impossible_numbers_are_refused_by_name(
    reference: np.ndarray, spacing_mm: tuple[float, float, float], tolerance_mm: float, named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        case_metrics(reference, reference, spacing_mm=spacing_mm, nsd_tolerance_mm=tolerance_mm)


def test_the_masks_are_left_as_they_were(reference: np.ndarray) -> None:
    prediction = np.roll(reference, 1, axis=0)
    before = reference.copy(), prediction.copy()
    measure(reference, prediction)
    np.testing.assert_array_equal(reference, before[0])
    np.testing.assert_array_equal(prediction, before[1])


def test_views_in_any_memory_order_give_the_same_row(reference: np.ndarray) -> None:
    prediction = np.roll(reference, 1, axis=1)
    plain = measure(reference, prediction)
    assert measure(np.asfortranarray(reference), np.asfortranarray(prediction)) == plain
    doubled = [np.repeat(mask, 2, axis=2)[..., ::2] for mask in (reference, prediction)]
    assert measure(*doubled) == plain


def test_memory_stays_a_fraction_of_the_two_masks() -> None:
    image = np.zeros((100, 200, 200), bool)
    image[40:60, 80:120, 80:120] = True
    moved = np.roll(image, 3, axis=1)
    tracemalloc.start()
    measure(image, moved)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (image.size + moved.size) / 3  # bytes; one single-precision map of the image would be six times this


@pytest.mark.parametrize(("shape", "place"), [((1, 1, 1), (0, 0, 0)), ((4, 5, 6), (0, 0, 0)), ((4, 5, 6), (3, 4, 5))])
def test_a_single_voxel_also_at_the_border_is_a_whole_mask(
    shape: tuple[int, int, int], place: tuple[int, int, int]
) -> None:
    mask = np.zeros(shape, bool)
    mask[place] = True
    row = measure(mask, mask)
    perfect = {name for name, value in row.items() if value == 1.0}
    assert {"dice", "nsd", "boundary_jaccard", "lesion_dice", "lesion_f1"} <= perfect
    assert row["hd_mm"] == row["hd95_mm"] == row["assd_mm"] == row["added_path_mm"] == 0.0


def test_lesions_are_listed_largest_first_with_their_place_and_overlap() -> None:
    reference, prediction = (np.zeros((4, 6, 90), bool) for _ in range(2))
    reference[1, 1, 2:4] = reference[2:4, 4, 70:74] = True
    prediction[2, 4, 70:76] = prediction[0, 0, 30] = True
    found = measure_case(reference, prediction, spacing_mm=SPACING, nsd_tolerance_mm=1.0).lesions
    keys = ("side", "volume_ml", "z", "y", "x", "shared_ml", "n_matched")
    assert [tuple(line[key] for key in keys) for line in found] == [
        ("reference", 0.048, 2.5, 4.0, 71.5, 0.024, 1),
        ("reference", 0.012, 1.0, 1.0, 2.5, 0.0, 0),
        ("prediction", 0.036, 2.0, 4.0, 72.5, 0.024, 1),
        ("prediction", 0.006, 0.0, 0.0, 30.0, 0.0, 0),
    ]
    assert [line["dice"] for line in found[:2]] == [pytest.approx(2 * 4 / (8 + 6)), 0.0]
    assert all(math.isnan(line["dice"]) for line in found[2:])


def test_the_trimap_curve_ends_at_the_plain_jaccard(reference: np.ndarray) -> None:
    moved = np.roll(reference, 1, axis=2)
    widths = (0.0, 1.0, 2.0, 100.0)
    found = measure_case(reference, moved, spacing_mm=SPACING, nsd_tolerance_mm=1.0, trimap_bands_mm=widths)
    assert [width for width, _ in found.trimap] == list(widths)
    assert found.trimap[-1][1] == found.row["jaccard"] == 0.6
    assert found.trimap[0][1] == 0.75  # the band of width 0 is the reference's surface, here all of the reference
