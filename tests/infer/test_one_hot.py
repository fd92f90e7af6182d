"""An image with a label as further channels: regions are those of both, and only they are read."""

import numpy as np
import pytest

from cohortseg.infer.one_hot import WithOneHot
from cohortseg.infer.sliding import read_region

SHAPE = (4, 6, 5)


@pytest.fixture(scope="module")
def label():
    return np.random.default_rng(1).integers(0, 3, SHAPE).astype(np.uint8)


@pytest.mark.parametrize("channels", [(), (2,)])
def test_channels_of_the_image_come_first_and_then_one_for_each_class(label, channels):
    image = np.random.default_rng(2).normal(size=(*channels, *SHAPE)).astype(np.float16)
    both = WithOneHot(image, label, 2)
    assert both.shape == ((sum(channels) or 1) + 2, *SHAPE)
    assert both.dtype == np.float16
    region = read_region(both, (1, 2, 0), (3, 2, 5))
    np.testing.assert_array_equal(region[:-2], image.reshape(-1, *SHAPE)[:, 1:4, 2:4].astype(np.float32))
    for number in (1, 2):
        np.testing.assert_array_equal(region[-3 + number], label[1:4, 2:4] == number)


def test_beyond_the_border_the_label_goes_on_as_the_image_does(label):
    both = WithOneHot(np.zeros(SHAPE, np.float32), label, 2)
    region = read_region(both, (-2, 0, 0), (3, 6, 5))
    np.testing.assert_array_equal(region[2, 0], label[0] == 2)


def test_in_memory_it_is_as_small_as_its_parts(label):
    class Counted:
        shape, dtype, n_read = SHAPE, np.dtype(np.float32), 0

        def __getitem__(self, key):
            type(self).n_read += 1
            return np.zeros(SHAPE, np.float32)[key]

    both = WithOneHot(Counted(), label, 2)[...]
    assert isinstance(both, WithOneHot)
    assert both.image.nbytes + both.label.nbytes == 5 * label.size
    read_region(both, (0, 0, 0), SHAPE)
    assert Counted.n_read == 1
