import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cohortseg.errors import SettingsError
from cohortseg.phantom.thorax import thorax

SHAPE, SPACING = (24, 96, 112), (7.0, 3.6, 3.2)


def chest(seed=3, n_tumours=1, **more):
    return thorax(seed, shape=SHAPE, spacing_mm=SPACING, n_tumours=n_tumours, **more)


@pytest.fixture(scope="module")
def scan():
    return chest(n_tumours=2, places=("lung", "mediastinum"))


def test_the_same_seed_gives_the_same_voxels_and_another_seed_another_person(scan):
    again = chest(n_tumours=2, places=("lung", "mediastinum"))
    np.testing.assert_array_equal(scan[0], again[0])
    for name, mask in scan[1].items():
        np.testing.assert_array_equal(mask, again[1][name])
    assert (chest(seed=4)[0] != scan[0]).mean() > 0.5


def test_tissues_have_the_densities_of_a_real_ct(scan):
    hu, labels = scan
    assert hu.dtype == np.int16
    assert -1024 <= hu.min() < -1000 < 400 < hu.max() <= 3071
    assert -900 < np.median(hu[labels["lung"]]) < -780
    tissue = labels["body"] & ~labels["lung"] & ~labels["tumour"]
    assert 0.2 < ((hu > 0) & (hu < 120))[tissue].mean() < 0.8  # muscle, blood, liver
    assert 0.05 < ((hu > -140) & (hu < -60))[tissue].mean() < 0.5  # fat
    assert 0.02 < (hu > 200)[tissue].mean() < 0.2  # bone
    assert np.median(hu[~labels["body"]]) == pytest.approx(-1000, abs=5)


def test_there_are_two_lungs_of_a_grown_up_size_right_and_left(scan):
    lung = scan[1]["lung"]
    parts, _ = ndimage.label(lung)
    sizes = np.bincount(parts.ravel())[1:]
    right, left = np.argsort(sizes)[-2:]
    centres = sorted(ndimage.center_of_mass(parts == number + 1)[2] for number in (right, left))
    assert centres[0] < SHAPE[2] / 2 - 10 < SHAPE[2] / 2 + 10 < centres[1]
    assert 1500 < lung.sum() * np.prod(SPACING) / 1000 < 6000


def test_the_body_fits_into_the_field_of_view_and_holds_lungs_and_tumours(scan):
    body = scan[1]["body"]
    assert not body[:, [0, -1]].any()
    assert not body[:, :, [0, -1]].any()
    assert not (scan[1]["lung"] & ~body).any()
    assert not (scan[1]["tumour"] & ~body).any()


@pytest.mark.parametrize("seed", range(6))
def test_three_tumours_are_three_lumps_of_one_to_five_centimetres(seed):
    hu, labels = chest(seed, 3)
    parts, count = ndimage.label(labels["tumour"], np.ones((3, 3, 3)))
    volumes = np.bincount(parts.ravel())[1:] * np.prod(SPACING) / 1000
    assert count == 3
    assert volumes.min() > 0.3
    assert volumes.max() < 80
    inside = ndimage.binary_erosion(labels["tumour"])
    assert -60 < np.median(hu[inside] if inside.any() else hu[labels["tumour"]]) < 70


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_tumours_of_one_kind_do_not_grow_together(seed):
    mask = chest(seed, 4, places=("mediastinum",))[1]["tumour"]
    assert ndimage.label(mask, np.ones((3, 3, 3)))[1] == 4


def test_without_tumours_the_mask_is_empty():
    assert not chest(n_tumours=0)[1]["tumour"].any()


@pytest.mark.parametrize("seed", [1, 2, 5])
def test_a_tumour_grows_where_it_was_asked_to(seed):
    """Share of airspace in the rim round the tumour: all of it in the lung, a part of it at a wall."""
    share = {}
    for place in ("lung", "pleura", "mediastinum"):
        labels = chest(seed, 1, places=(place,))[1]
        rim = ndimage.binary_dilation(labels["tumour"]) & ~labels["tumour"]
        share[place] = labels["lung"][rim].mean()
    assert share["lung"] > 0.95
    assert 0.1 < share["pleura"] < 0.95
    assert 0.1 < share["mediastinum"] < 0.95


def test_the_sharp_kernel_is_noisier_and_its_noise_is_finer():
    noise = {}
    for kernel in ("soft", "sharp"):
        hu, labels = chest(n_tumours=0, kernel=kernel)
        flat = ndimage.binary_erosion(labels["body"] & ~labels["lung"], iterations=3)
        field = hu - ndimage.median_filter(hu.astype(float), (1, 5, 5))
        neighbours = flat[:, :, 1:] & flat[:, :, :-1]
        spread = np.median(np.abs(field[flat])) / 0.6745
        noise[kernel] = spread, np.median((field[:, :, 1:] * field[:, :, :-1])[neighbours]) / spread**2
    assert 3 < noise["soft"][0] < 25 < noise["sharp"][0] < 70
    assert noise["sharp"][1] < noise["soft"][1]


def test_unknown_kernels_and_places_are_refused_by_name():
    with pytest.raises(SettingsError, match="soft"):
        chest(kernel="velvet")
    with pytest.raises(SettingsError, match="pleura"):
        chest(places=("knee",))


@given(
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(8, 14), st.integers(32, 48), st.integers(32, 48)),
    n_tumours=st.integers(0, 3),
)
@settings(max_examples=15, deadline=None)
def test_small_pictures_of_any_shape_are_whole_too(seed, shape, n_tumours):
    hu, labels = thorax(seed, shape=shape, spacing_mm=(10.0, 370 / shape[1], 350 / shape[2]), n_tumours=n_tumours)
    assert hu.shape == shape
    assert all(mask.shape == shape and mask.dtype == bool for mask in labels.values())
    assert not (labels["lung"] & labels["tumour"]).any()
    assert labels["lung"].any()
    assert ndimage.label(labels["tumour"], np.ones((3, 3, 3)))[1] >= min(n_tumours, 1)
    assert labels["tumour"].any() == (n_tumours > 0)
