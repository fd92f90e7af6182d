import numpy as np
import pytest

from cohortseg.preprocess.histogram import STORED_BINS, Bins, quantile, statistics, stored, tally


def test_a_stored_histogram_keeps_every_voxel_and_the_mean():
    values = np.random.default_rng(2).integers(-1500, 2500, 5000).astype(np.int16)
    bins = Bins(-32768.5, 1.0, 65536, exact=True)
    found = stored(tally(values, bins).counts, bins)
    counts = np.array(found["counts"])
    centres = found["lower"] + found["width"] * (np.arange(counts.size) + 0.5)
    assert counts.sum() == 5000
    assert counts.size <= STORED_BINS
    assert found["lower"] == values.min() - 0.5
    assert counts @ centres / 5000 == pytest.approx(values.mean(), abs=found["width"] / 10)


def test_a_narrow_histogram_is_stored_exactly():
    bins = Bins(-32768.5, 1.0, 65536, exact=True)
    found = stored(tally(np.array([5, 7, 7, 8], np.int16), bins).counts, bins)
    assert found == {"lower": 4.5, "width": 1.0, "counts": [1, 0, 2, 1]}


def test_quantiles_lie_between_neighbours_in_rank():
    centres = np.array([10.0, 20.0, 40.0])
    assert quantile(np.array([1, 1, 1]), centres, 0.25) == 15.0
    assert quantile(np.array([1, 1, 1]), centres, 0.75) == 30.0
    assert quantile(np.array([0, 5, 0]), centres, 0.99) == 20.0


def test_an_empty_group_has_no_numbers():
    bins = Bins(0.0, 1.0, 4, exact=False)
    assert statistics(tally(np.empty(0), bins), bins) is None
    assert stored(tally(np.empty(0), bins).counts, bins) is None
