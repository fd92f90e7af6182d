"""Augmentation: image and label move together, nothing appears from nowhere, the seed decides."""

import dataclasses

import numpy as np
import pytest
import torch

from cohortseg.train.augment import AUGMENTATIONS, Augmentation, augment


def batch_of(shape=(3, 1, 8, 10, 12), seed=0):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(shape, generator=generator)
    labels = torch.randint(4, (shape[0], *shape[2:]), generator=generator)
    return images, labels


@pytest.mark.parametrize("preset", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("shape", [(3, 1, 8, 10, 12), (3, 2, 9, 11)])
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(preset, shape):
    images, labels = batch_of(shape)
    one = augment(images, labels, AUGMENTATIONS[preset], seed=7)
    two = augment(images, labels, AUGMENTATIONS[preset], seed=7)
    other = [augment(images, labels, AUGMENTATIONS[preset], seed=seed)[0] for seed in range(8)]
    assert torch.equal(one[0], two[0])
    assert torch.equal(one[1], two[1])
    assert any(not torch.equal(one[0], each) for each in other) == (preset != "none")


@pytest.mark.parametrize("preset", sorted(AUGMENTATIONS))
@pytest.mark.parametrize("shape", [(3, 1, 8, 10, 12), (3, 2, 9, 11)])
def test_shapes_types_and_label_values_stay(preset, shape):
    images, labels = batch_of(shape)
    before = images.clone(), labels.clone()
    for seed in range(5):
        changed, moved = augment(images, labels * 3, AUGMENTATIONS[preset], seed=seed)
        assert (changed.shape, changed.dtype) == (images.shape, images.dtype)
        assert (moved.shape, moved.dtype) == (labels.shape, labels.dtype)
        assert torch.isfinite(changed).all()
        assert set(moved.unique().tolist()) <= {0, 3, 6, 9}
    assert torch.equal(images, before[0])
    assert torch.equal(labels, before[1])


def test_none_changes_nothing():
    images, labels = batch_of()
    changed, moved = augment(images, labels, AUGMENTATIONS["none"], seed=1)
    assert torch.equal(changed, images)
    assert torch.equal(moved, labels)


def test_a_share_of_zero_changes_nothing():
    images, labels = batch_of()
    how = dataclasses.replace(AUGMENTATIONS["full"], share=0.0, flip_axes=())
    changed, moved = augment(images, labels, how, seed=1)
    assert torch.equal(changed, images)
    assert torch.equal(moved, labels)


@pytest.mark.parametrize("shape", [(6, 1, 14, 17, 20), (6, 1, 20, 31)])
def test_the_label_follows_the_image(shape):
    """The image is its own label, smooth enough that nearest and linear sampling differ little."""
    n, _, *sizes = shape
    ramps = torch.meshgrid(*[torch.arange(size, dtype=torch.float32) for size in sizes], indexing="ij")
    labels = torch.round(sum(ramps)).long()[None].repeat(n, *[1] * len(sizes))
    how = Augmentation(rotation_deg=40.0, scale=0.3, shift=0.1, flip_axes=(0, 1, 2))
    changed, moved = augment(labels[:, None].float(), labels, how, seed=3)
    assert not torch.equal(moved, labels)
    assert (changed[:, 0] - moved).abs().max() <= len(sizes) / 2 + 1e-3


def test_mirroring_is_exact_and_happens_half_of_the_time():
    images, labels = batch_of((200, 1, 2, 3, 4))
    changed, moved = augment(images, labels, Augmentation(flip_axes=(2,)), seed=1)
    mirrored = (changed == images.flip(4)).flatten(1).all(1)
    kept = (changed == images).flatten(1).all(1)
    assert (mirrored ^ kept).all()
    assert 70 < mirrored.sum() < 130
    assert torch.equal(moved[mirrored], labels[mirrored].flip(3))
    assert torch.equal(moved[kept], labels[kept])


def test_samples_draw_their_own_parameters():
    image, label = batch_of((1, 1, 6, 8, 10))
    changed, _ = augment(image.repeat(4, 1, 1, 1, 1), label.repeat(4, 1, 1, 1), Augmentation(rotation_deg=30.0), seed=0)
    assert len({tuple(each.flatten().tolist()) for each in changed}) == 4


def test_rotation_in_the_plane_keeps_lengths_in_millimetres():
    """Voxels of 1 x 3 mm: a point 12 mm from the centre stays 12 mm away, along whichever axis it comes to lie."""
    image = torch.zeros(1, 1, 61, 21)
    image[0, 0, 30 + 12, 10] = 1.0
    blurred = torch.nn.functional.avg_pool2d(image, 5, 1, 2)
    labels = torch.zeros(1, 61, 21, dtype=torch.long)
    for seed in range(5):
        moved, _ = augment(blurred, labels, Augmentation(rotation_deg=180.0), seed=seed, spacing_mm=(1.0, 3.0))
        weight = moved[0, 0] / moved.sum()
        y = (weight.sum(1) * (torch.arange(61) - 30.0)).sum()
        x = (weight.sum(0) * (torch.arange(21) - 10.0)).sum() * 3.0
        assert torch.hypot(y, x).item() == pytest.approx(12.0, abs=0.6)


def test_scaling_changes_a_ball_within_its_limits():
    z, y, x = torch.meshgrid(*[torch.arange(-15, 16)] * 3, indexing="ij")
    ball = ((z**2 + y**2 + x**2) <= 64).long()[None].repeat(40, 1, 1, 1)
    _, moved = augment(ball[:, None].float(), ball, Augmentation(scale=0.25), seed=2)
    radius = (moved.flatten(1).sum(1) * 3 / (4 * np.pi)) ** (1 / 3)
    assert 8 / 1.25 - 0.3 < radius.min() < 7.2
    assert 8.8 < radius.max() < 8 * 1.25 + 0.3


def test_brightness_and_contrast_by_hand():
    images, labels = batch_of((50, 1, 4, 5, 6))
    bright, _ = augment(images, labels, Augmentation(brightness=0.2), seed=4)
    factors = (bright / images).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), atol=1e-3, rtol=0)
    assert 0.8 <= factors.min() < 0.85
    assert 1.15 < factors.max() <= 1.2
    contrast, _ = augment(images, labels, Augmentation(contrast=0.5), seed=4)
    assert (contrast.flatten(1).amax(1) <= images.flatten(1).amax(1)).all()
    assert (contrast.flatten(1).amin(1) >= images.flatten(1).amin(1)).all()


def test_noise_has_at_most_its_standard_deviation():
    images, labels = batch_of((30, 1, 10, 10, 10))
    noisy, _ = augment(images * 5.0, labels, Augmentation(noise=0.2), seed=4)
    deviation = (noisy - images * 5.0).flatten(1).std(1)
    assert deviation.max() < 0.2 * 5.0 * 1.2
    assert deviation.max() > 0.1 * 5.0


def test_gamma_keeps_order_mean_and_spread():
    images, labels = batch_of((10, 1, 4, 5, 6))
    bent, _ = augment(images, labels, Augmentation(gamma=0.5), seed=4)
    assert not torch.allclose(bent, images, atol=0.01)
    for before, after in zip(images, bent, strict=True):
        assert torch.equal(before.flatten().argsort(), after.flatten().argsort())
        torch.testing.assert_close(after.mean(), before.mean(), atol=1e-4, rtol=0)
        torch.testing.assert_close(after.std(), before.std(), atol=1e-4, rtol=0)


def test_coarsening_lowers_the_variance_of_noise():
    images, labels = batch_of((20, 1, 12, 12, 12))
    coarse, _ = augment(images, labels, Augmentation(low_resolution=0.5), seed=4)
    assert (coarse.flatten(1).std(1) < images.flatten(1).std(1) + 1e-6).all()
    assert coarse.flatten(1).std(1).min() < 0.8


def test_a_constant_image_stays_finite():
    images, labels = torch.full((2, 1, 4, 5, 6), 3.0), torch.zeros((2, 4, 5, 6), dtype=torch.long)
    for seed in range(5):
        changed, _ = augment(images, labels, dataclasses.replace(AUGMENTATIONS["full"], share=1.0), seed=seed)
        assert torch.isfinite(changed).all()


@pytest.mark.parametrize("kind", ["noise", "brightness", "contrast", "gamma", "low_resolution"])
def test_each_channel_draws_its_own_intensities(kind):
    one, labels = batch_of((12, 1, 16, 18, 20))
    changed, _ = augment(one.repeat(1, 2, 1, 1, 1), labels, Augmentation(**{kind: 0.5}), seed=2)
    amounts = (changed - one).flatten(2).std(2)
    # A draw near zero may leave the number of voxels as it is.
    assert (amounts > 1e-3).sum() >= 20
    assert ((amounts[:, 0] - amounts[:, 1]).abs() > 1e-3).sum() >= 10


def test_the_share_counts_channels_so_that_one_may_change_alone():
    images, labels = batch_of((60, 2, 4, 5, 6))
    changed, _ = augment(images, labels, Augmentation(share=0.5, brightness=0.3), seed=2)
    same = (changed == images).flatten(2).all(2)
    assert {tuple(row) for row in same.tolist()} == {(False, False), (False, True), (True, False), (True, True)}


def test_all_channels_move_alike():
    images, labels = batch_of((5, 1, 9, 11))
    how = dataclasses.replace(AUGMENTATIONS["full"], share=1.0, noise=0, brightness=0, contrast=0, gamma=0)
    how = dataclasses.replace(how, low_resolution=0)
    changed, _ = augment(images.repeat(1, 3, 1, 1), labels, how, seed=3)
    assert torch.equal(changed, changed[:, :1].expand_as(changed))
    assert not torch.equal(changed[:, :1], images)


def test_numbers_of_a_channel_do_not_depend_on_the_values_of_another():
    images, labels = batch_of((4, 2, 6, 8, 10))
    other = images.clone()
    other[:, 1] = other[:, 1] * 100.0 + 7.0
    how = dataclasses.replace(AUGMENTATIONS["full"], share=1.0)
    one, two = (augment(each, labels, how, seed=5)[0][:, 0] for each in (images, other))
    assert torch.equal(one, two)


@pytest.mark.parametrize("preset", sorted(AUGMENTATIONS))
def test_a_channel_of_zeros_stays_zero(preset):
    images, labels = batch_of((3, 2, 6, 8, 10))
    images[:, 1] = 0.0
    for seed in range(5):
        changed, _ = augment(images, labels, dataclasses.replace(AUGMENTATIONS[preset], share=1.0), seed=seed)
        assert not changed[:, 1].any()


def test_every_preset_names_its_source():
    assert all(preset.source for preset in AUGMENTATIONS.values())
    assert not AUGMENTATIONS["light"].flip_axes
