"""Other libraries on the same two masks: where they agree, and why where they do not.

SimpleITK, scipy and scikit-learn are judges here; MONAI, surface-distance and MedPy are in `benchmarks/metrics.py`,
because they are no dependencies. `docs/metrics.md` explains each difference.
"""

import numpy as np
import pytest
import SimpleITK
from scipy import ndimage
from scipy.spatial.distance import directed_hausdorff
from sklearn import metrics as judge

from cohortseg.metrics.case import case_metrics

SPACING = (3.0, 1.0, 0.8)


def blobs(seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(18, 40, 44))
    return ndimage.gaussian_filter(noise, (1.0, 3.0, 3.5)) > 0.04


@pytest.fixture(scope="module")
def pair() -> tuple[np.ndarray, np.ndarray]:
    reference = blobs(1)
    return reference, reference ^ (blobs(2) & blobs(3))


@pytest.fixture(scope="module")
def ours(pair) -> dict:
    return case_metrics(*pair, spacing_mm=SPACING, nsd_tolerance_mm=1.5)


def images(pair: tuple[np.ndarray, np.ndarray]) -> list[SimpleITK.Image]:
    found = [SimpleITK.GetImageFromArray(mask.astype(np.uint8)) for mask in pair]
    for image in found:
        image.SetSpacing(SPACING[::-1])
    return found


def surfaces(pair: tuple[np.ndarray, np.ndarray]) -> list[np.ndarray]:
    return [mask & ~ndimage.binary_erosion(mask) for mask in pair]


def directed(pair: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    edges = surfaces(pair)
    maps = [ndimage.distance_transform_edt(~edge, sampling=SPACING) for edge in edges]
    return maps[1][edges[0]], maps[0][edges[1]]


def test_simpleitk_measures_the_same_overlap_and_volume(pair, ours) -> None:
    overlap = SimpleITK.LabelOverlapMeasuresImageFilter()
    overlap.Execute(*images(pair)[::-1])  # it takes the second image for the reference
    assert ours["dice"] == pytest.approx(overlap.GetDiceCoefficient(1))
    assert ours["jaccard"] == pytest.approx(overlap.GetJaccardCoefficient(1))
    assert 1 - ours["sensitivity"] == pytest.approx(overlap.GetFalseNegativeError(1))
    # SimpleITK's volume similarity is relative to the mean of both volumes, ours to the reference
    both = ours["reference_ml"] + ours["prediction_ml"]
    similarity = overlap.GetVolumeSimilarity(1)
    assert abs(similarity) == pytest.approx(2 * abs(ours["volume_difference_ml"]) / both)


def test_scikit_learn_counts_the_same_voxels(pair, ours) -> None:
    truth, found = (mask.ravel() for mask in pair)
    assert ours["dice"] == pytest.approx(judge.f1_score(truth, found))
    assert ours["jaccard"] == pytest.approx(judge.jaccard_score(truth, found))
    assert ours["sensitivity"] == pytest.approx(judge.recall_score(truth, found))
    assert ours["precision"] == pytest.approx(judge.precision_score(truth, found))
    assert ours["specificity"] == pytest.approx(judge.recall_score(truth, found, pos_label=0))
    assert ours["accuracy"] == pytest.approx(judge.accuracy_score(truth, found))


def test_scipy_measures_the_same_distances(pair, ours) -> None:
    there, back = directed(pair)
    assert ours["hd_mm"] == pytest.approx(max(there.max(), back.max()), rel=1e-6)
    assert ours["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-6)
    both = np.concatenate((there, back))
    assert ours["assd_mm"] == pytest.approx(both.mean(), rel=1e-6)
    assert ours["nsd"] == np.mean(both <= 1.5 + 1e-9)
    points = [np.argwhere(edge) * SPACING for edge in surfaces(pair)]
    assert ours["hd_mm"] == pytest.approx(max(directed_hausdorff(*points)[0], directed_hausdorff(*points[::-1])[0]))


def test_simpleitk_measures_distances_of_sets_which_a_hole_does_not_lengthen() -> None:
    reference = np.zeros((18, 40, 44), bool)
    reference[2:16, 4:36, 4:40] = True
    hollow = reference.copy()
    hollow[8:10, 18:22, 20:24] = False
    distance = SimpleITK.HausdorffDistanceImageFilter()
    distance.Execute(*images((reference, hollow)))
    found = case_metrics(reference, hollow, spacing_mm=SPACING, nsd_tolerance_mm=1.5)
    # the deepest voxel of the hole is a voxel or two from the rest of the mask, but its wall is far from the outline
    assert distance.GetHausdorffDistance() < 4.0
    assert found["hd_mm"] > 12.0
    solid = (reference, np.roll(reference, 2, axis=1))
    distance.Execute(*images(solid))
    same = case_metrics(*solid, spacing_mm=SPACING, nsd_tolerance_mm=1.5)["hd_mm"]
    assert distance.GetHausdorffDistance() == pytest.approx(same, rel=1e-6)


def test_one_percentile_of_both_directions_is_not_the_larger_of_two() -> None:
    lopsided = np.zeros((18, 40, 44), bool), np.zeros((18, 40, 44), bool)
    lopsided[0][4:14, 4:34, 4:36] = lopsided[1][4:14, 4:34, 4:36] = True
    lopsided[1][6:8, 37:39, 38:42] = True  # a stray part: a few voxels of one surface only
    found = case_metrics(*lopsided, spacing_mm=SPACING, nsd_tolerance_mm=1.5)
    there, back = directed(lopsided)
    assert np.percentile(np.concatenate((there, back)), 95) <= found["hd95_mm"]
    assert found["hd95_mm"] == pytest.approx(max(np.percentile(there, 95), np.percentile(back, 95)), rel=1e-6)


def test_the_mean_of_two_means_is_not_the_pooled_mean_when_surfaces_differ_in_size() -> None:
    small, large = np.zeros((18, 40, 44), bool), np.zeros((18, 40, 44), bool)
    small[8:10, 18:22, 20:24] = large[2:16, 4:36, 4:40] = True
    found = case_metrics(small, large, spacing_mm=SPACING, nsd_tolerance_mm=1.5)
    there, back = directed((small, large))
    assert found["assd_mm"] == pytest.approx(np.concatenate((there, back)).mean(), rel=1e-6)
    assert abs(found["assd_mm"] - (there.mean() + back.mean()) / 2) > 1.0


def test_simpleitk_counts_the_same_lesions(pair, ours) -> None:
    component = SimpleITK.ConnectedComponentImageFilter()
    component.FullyConnectedOn()
    counts = []
    for image in images(pair):
        component.Execute(image)
        counts.append(component.GetObjectCount())
    assert [ours["n_lesions_reference"], ours["n_lesions_prediction"]] == counts
