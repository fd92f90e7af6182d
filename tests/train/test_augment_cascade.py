"""Augmentation of an image with a label before it: what moves together, what stays a class, and what is spoilt."""

from functools import partial

import numpy as np
import pytest
import torch
from scipy import ndimage

from cohortseg.train.augment import AUGMENTATIONS, Augmentation, augment
from cohortseg.train.augment_cascade import _grown_or_shrunk, _without_a_component, change_with_label, spoilt
from cohortseg.train.team import Share

SIZE = (12, 14, 16)


def batch(n=3):
    """Images of noise with the reference itself as the label before them, two classes."""
    labels = torch.zeros((n, *SIZE), dtype=torch.int64)
    labels[:, 2:6, 3:9, 2:7] = 1
    labels[:, 7:11, 4:8, 8:15] = 2
    image = torch.randn((n, 1, *SIZE), generator=torch.Generator().manual_seed(3))
    one_hot = torch.stack([(labels == number).float() for number in (1, 2)], 1)
    return torch.cat([image, one_hot], 1), labels


def changed(how, *, seed=5, share=None, images=None, labels=None):
    if images is None:
        images, labels = batch()
    return change_with_label(partial(augment, share=share), images, labels, how, seed=seed, n_classes=2, share=share)


def test_label_and_reference_move_together_and_stay_classes(monkeypatch):
    monkeypatch.setattr("cohortseg.train.augment_cascade.spoilt", lambda masks, **_: masks)
    images, labels = changed(AUGMENTATIONS["full"])
    assert not torch.equal(labels, batch()[1])
    for number in (1, 2):
        assert torch.equal(images[:, number], (labels == number).float())


def test_the_image_changes_as_it_would_without_the_label():
    given, labels = batch()
    images, moved = changed(AUGMENTATIONS["full"])
    alone, alone_labels = augment(given[:, :1], labels, AUGMENTATIONS["full"], seed=5)
    assert torch.equal(images[:, :1], alone)
    assert torch.equal(moved, alone_labels)


def test_without_augmentation_nothing_is_spoilt():
    images, labels = changed(Augmentation())
    given, truth = batch()
    assert torch.equal(images, given)
    assert torch.equal(labels, truth)


def test_the_same_seed_spoils_in_the_same_way_and_rows_of_a_team_as_in_the_whole_batch():
    whole = changed(AUGMENTATIONS["light"])[0]
    assert torch.equal(whole, changed(AUGMENTATIONS["light"])[0])
    given, labels = batch()
    for rows in ((0, 2), (1,)):
        part = changed(
            AUGMENTATIONS["light"], share=Share(rows, 3), images=given[list(rows)], labels=labels[list(rows)]
        )[0]
        assert torch.equal(part[:, 1:], whole[list(rows), 1:])


def test_spoilt_labels_are_classes_that_exclude_each_other():
    masks = batch(1)[0][0, 1:] > 0
    found = [spoilt(masks, seed=(1, row)) for row in range(60)]
    n_changed = sum(not torch.equal(one, masks) for one in found)
    assert 15 < n_changed < 45  # 1 - 0.6 * 0.8 = 0.52, less what an opening leaves alone
    assert all(not (one[0] & one[1]).any() for one in found)


@pytest.mark.parametrize(
    ("kind", "judge"),
    [(0, ndimage.binary_dilation), (1, partial(ndimage.binary_erosion, border_value=1))],
)
@pytest.mark.parametrize("radius", [1, 3])
def test_growing_and_shrinking_are_those_of_a_box(kind, judge, radius):
    mask = np.random.default_rng(kind).random((1, *SIZE)) < (0.02 if kind == 0 else 0.98)
    found = _grown_or_shrunk(torch.from_numpy(mask), kind, radius)[0].numpy()
    np.testing.assert_array_equal(found, judge(mask[0], np.ones((2 * radius + 1,) * 3, bool)))


def test_opening_takes_a_thin_bridge_and_closing_fills_a_gap():
    mask = torch.zeros((1, 9, 9, 20), dtype=torch.bool)
    mask[0, 2:7, 2:7, 2:8] = mask[0, 2:7, 2:7, 11:17] = True
    bridged = mask.clone()
    bridged[0, 4, 4, 8:11] = True
    assert torch.equal(_grown_or_shrunk(bridged, 2, 1), mask)
    closed = _grown_or_shrunk(mask, 3, 2)
    assert closed[0, 4, 4, 2:17].all()
    assert not closed[0, 0].any()


def test_one_small_component_goes_and_a_large_one_never():
    mask = torch.zeros((10, 10, 10), dtype=torch.bool)
    mask[:5] = True  # half of the patch
    assert torch.equal(_without_a_component(mask, np.random.default_rng(0)), mask)
    mask[7, 2, 2] = mask[9, 9, 9] = True
    left = _without_a_component(mask, np.random.default_rng(0))
    assert int(mask.sum() - left.sum()) == 1
    assert left[:5].all()
