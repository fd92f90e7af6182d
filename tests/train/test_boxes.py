"""Boxes instead of outlines: what they say of each voxel, nothing of a shape gets through, and they teach discs."""

import numpy as np
import pytest
import torch

from cohortseg.ignored import IGNORE
from cohortseg.infer.networks import build_network
from cohortseg.report.labels_text import taught_sentence
from cohortseg.train.boxes import BoxedLabel, boxed_cases, boxes_of, middle
from cohortseg.train.losses import dice_ce
from cohortseg.train.patches import Case, foreground_rows, patch_source
from cohortseg.train.recipe import Recipe
from cohortseg.train.schedules import constant
from cohortseg.train.step import initial_state, one_step


def lopsided() -> np.ndarray:
    """An L of class 1 over two slices, a bar of class 2, a voxel that nobody judged."""
    label = np.zeros((3, 8, 10), np.uint8)
    label[0, 1:6, 1], label[0, 5, 1:5], label[1, 1:3, 1] = 1, 1, 1
    label[2, 3, 6:9] = 2
    label[2, 0, 0] = IGNORE
    return label


def test_boxes_are_those_of_components_by_slice_or_of_whole_objects() -> None:
    by_slice = [(number, tuple((p.start, p.stop) for p in box)) for number, box in boxes_of(lopsided(), by_slice=True)]
    assert by_slice == [(1, ((0, 1), (1, 6), (1, 5))), (2, ((2, 3), (3, 4), (6, 9))), (1, ((1, 2), (1, 3), (1, 2)))]
    whole = [(number, tuple((p.start, p.stop) for p in box)) for number, box in boxes_of(lopsided(), by_slice=False)]
    assert whole == [(1, ((0, 2), (1, 6), (1, 5))), (2, ((2, 3), (3, 4), (6, 9)))]
    assert boxes_of(np.zeros((1, 2, 2), np.uint8), by_slice=True) == []


@pytest.mark.parametrize(("share", "sizes"), [(1.0, (1, 20, 10)), (0.25, (1, 10, 5)), (0.001, (1, 1, 1))])
def test_the_middle_has_the_share_of_the_box(share: float, sizes: tuple[int, ...]) -> None:
    box = (slice(2, 3), slice(10, 30), slice(5, 15))
    found = middle(box, share)
    assert tuple(part.stop - part.start for part in found) == sizes
    for part, whole in zip(found, box, strict=True):
        assert abs((part.start + part.stop) - (whole.start + whole.stop)) <= 1
        assert whole.start <= part.start < part.stop <= whole.stop


def test_outside_is_background_the_middle_is_the_class_and_between_nobody_knows() -> None:
    label = np.zeros((1, 6, 7), np.uint8)
    label[0, 1:5, 2:6] = np.eye(4)
    label[0, 1, 2:6] = label[0, 1:5, 2] = 1
    found = BoxedLabel(label, boxes_of(label, by_slice=True), 0.25)[...]
    expected = np.zeros((6, 7), int)
    expected[1:5, 2:6], expected[2:4, 3:5] = IGNORE, 1
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize("key", [(slice(0, 2), slice(2, 7), slice(1, 9)), (slice(1, 3),), (..., slice(0, 8)), ...])
def test_a_region_reads_as_the_whole_does(key) -> None:
    label = BoxedLabel(lopsided(), boxes_of(lopsided(), by_slice=True), 0.2)
    if key == (..., slice(0, 8)):
        key = (slice(None), slice(None), slice(0, 8))
    np.testing.assert_array_equal(label[key], label[...][key])
    assert label[...][2, 0, 0] == IGNORE


def test_two_shapes_with_the_same_box_teach_the_same() -> None:
    first, second = np.zeros((2, 1, 12, 12), np.uint8)
    first[0, 2:9, 3:10] = 1
    second[0, 2:9, 3], second[0, 8, 3:10] = 1, 1
    one, other = (
        boxed_cases([Case(np.zeros(a.shape, np.float32), a, foreground_rows(a))], 0.2, by_slice=True)[0]
        for a in (first, second)
    )
    np.testing.assert_array_equal(one.label[...], other.label[...])
    np.testing.assert_array_equal(one.foreground, other.foreground)
    assert (one.label[tuple(slice(n, n + 1) for n in one.foreground[0, 1:])] == 1).all()


def discs(seed: int) -> Case:
    """Bright discs on a dark ground, with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    label = np.zeros((1, 64, 64), np.uint8)
    for cy, cx in ((16, 18), (44, 20), (30, 46)):
        radius = rng.integers(7, 11)
        label[0][(y - cy) ** 2 + (x - cx) ** 2 <= radius**2] = 1
    image = label.astype(np.float32) + rng.normal(0, 0.2, label.shape).astype(np.float32)
    return Case(image, label, foreground_rows(label))


def dice_after_training(share: float | None) -> float:
    network = build_network("unet", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (4, 8)}, seed=1)
    recipe = Recipe(loss=dice_ce(), schedule=constant, steps=60, learning_rate=1e-2, seed=1)
    state = initial_state(network, recipe)
    cases = boxed_cases([discs(seed) for seed in range(3)], share, by_slice=True)
    source = patch_source(cases, patch=(1, 32, 32), batch_size=4, foreground_share=0.5, seed=1)
    for step in range(60):
        one_step(state, recipe, *(torch.from_numpy(part) for part in source.batch(step)))
    unseen = discs(9)
    found = network.eval()(torch.from_numpy(unseen.image)[None])[0].argmax(0).numpy()
    return float(2 * (found * unseen.label[0]).sum() / (found.sum() + unseen.label.sum()))


def test_boxes_teach_discs_nearly_as_outlines_do() -> None:
    assert dice_after_training(0.2) > 0.9


def test_the_methods_text_says_what_of_an_object_was_learnt() -> None:
    text = taught_sentence({"boxes": 0.2})
    assert "bounding box alone: the middle 20 % of it was its class" in text
    assert taught_sentence({"boxes": None}) == ""
