"""The augmentation of the V-Net (G07): a grid of two nodes an axis moves its corners as drawn; histograms match."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from cohortseg.settings import UNetMethod
from cohortseg.train.augment import AUGMENTATIONS, QUANTILES, Augmentation, Draws, _bends, augment, matched


def draws(n, seed=1):
    return Draws(torch.Generator().manual_seed(seed), n)


@pytest.mark.parametrize("sizes", [(9, 12), (5, 9, 12)])
def test_the_corners_move_as_drawn_and_what_lies_between_stays_between(sizes):
    dims = len(sizes)
    how = Augmentation(elastic=15.0, nodes=2)
    drawn = draws(2).normal((dims, *(2,) * dims)) * 15.0
    found = _bends(sizes, how, draws(2))
    corners = found[(..., *(slice(None, None, size - 1) for size in sizes))]
    torch.testing.assert_close(corners, drawn, atol=1e-4, rtol=1e-5)
    middle = found[(..., *(size // 2 for size in sizes))]
    assert (middle >= drawn.flatten(2).amin(2) - 1e-4).all()
    assert (middle <= drawn.flatten(2).amax(2) + 1e-4).all()


def images(n=3, shape=(20, 24)):
    rng = torch.Generator().manual_seed(4)
    scale = torch.tensor([1.0, 10.0, 0.1])[:n].view(n, 1, 1, 1)
    return torch.randn((n, 2, *shape), generator=rng) ** 3 * scale


def test_a_sample_gets_the_histogram_of_another_and_keeps_the_order_of_its_intensities():
    before = images()
    after = matched(before, 1.0, draws(3))
    places = np.linspace(0, 1, 41)
    for row in range(3):
        for channel in range(2):
            own, new = (image[row, channel].flatten().numpy() for image in (before, after))
            assert (np.diff(new[np.argsort(own, kind="stable")]) >= 0).all()
            others = [before[k, channel].flatten().numpy() for k in range(3) if k != row]
            wide = [np.ptp(other) for other in others]
            errors = [
                np.abs(np.quantile(new, places) - np.quantile(other, places)).max() / width
                for other, width in zip(others, wide, strict=True)
            ]
            assert min(errors) < 0.06


def test_two_samples_change_histograms_and_equal_values_stay_equal():
    one = torch.cat([torch.zeros(50), torch.linspace(1, 2, 50)])
    two = torch.linspace(-3, 5, 100)
    after = matched(torch.stack([one, two]).view(2, 1, 10, 10), 1.0, draws(2)).flatten(1)
    assert after[0, :50].unique().numel() == 1
    assert after[0].amin() == pytest.approx(-3.0)
    assert after[0].amax() == pytest.approx(5.0)
    assert (after[1].amin(), after[1].amax()) == (0.0, 2.0)
    assert (after[1] == 0.0).float().mean() == pytest.approx(0.5, abs=2 / QUANTILES)


def test_no_share_and_no_partner_change_nothing():
    torch.testing.assert_close(matched(images(), 0.0, draws(3)), images(), rtol=0, atol=0)
    torch.testing.assert_close(matched(images(1), 1.0, draws(1)), images(1), rtol=0, atol=0)


def test_labels_move_but_keep_their_values_and_the_same_seed_gives_the_same():
    x = images(3, (30, 30))
    labels = torch.randint(0, 3, (3, 30, 30), generator=torch.Generator().manual_seed(1))
    first, second = (augment(x, labels, AUGMENTATIONS["vnet"], seed=5) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert not torch.equal(first[1], labels)
    assert set(first[1].unique().tolist()) <= {0, 1, 2}


def test_it_needs_the_whole_batch():
    assert UNetMethod(method="unet", augmentation="vnet").augmentation == "vnet"
    with pytest.raises(ValidationError, match="needs whole batches"):
        UNetMethod(method="unet", augmentation="vnet", processes=2, batch=4)
