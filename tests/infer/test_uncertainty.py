"""Entropy and disagreement by hand, and what they may never be."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from cohortseg.infer.networks import forward_of
from cohortseg.infer.uncertainty import Entropy


def parts_of(probabilities, mean_entropy):
    entropy = Entropy()
    for one in probabilities:
        entropy.add(np.asarray(one, np.float32))
    return entropy.parts(np.asarray(mean_entropy, np.float32))


def test_two_sure_networks_that_disagree_are_one_bit_apart():
    total, disagreement = parts_of([[0.5], [0.5]], [0.0])
    assert (total[0], disagreement[0]) == (1.0, 1.0)


def test_two_unsure_networks_that_agree_do_not_disagree():
    total, disagreement = parts_of([[0.5], [0.25], [0.25]], [1.5])
    assert total[0] == pytest.approx(1.5)
    assert disagreement[0] == 0.0


def test_a_certain_voxel_has_no_entropy():
    total, disagreement = parts_of([[1.0], [0.0]], [0.0])
    assert (total[0], disagreement[0]) == (0.0, 0.0)


class Says(nn.Module):
    """A network that says the same logits everywhere."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.tensor(logits)

    def forward(self, images):
        return self.logits.view(1, -1, 1, 1).expand(len(images), -1, *images.shape[2:])


@given(st.lists(st.lists(st.floats(-5, 5), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_the_entropy_channel_is_the_mean_of_the_networks_own_entropies(logits):
    forward = forward_of([Says(each) for each in logits], torch.device("cpu"), entropy=True)
    found = forward(np.zeros((1, 1, 2, 2), np.float32))[0, :, 0, 0]
    softmax = torch.softmax(torch.tensor(logits, dtype=torch.float64), dim=1).numpy()
    np.testing.assert_allclose(found[:3], softmax.mean(axis=0), atol=1e-6)
    own = -(softmax * np.log2(softmax)).sum(axis=1)
    assert found[3] == pytest.approx(own.mean(), abs=1e-5)
    total, disagreement = parts_of(found[:3, None], found[3:])
    assert -1e-5 <= disagreement[0] <= total[0] <= np.log2(3) + 1e-5
