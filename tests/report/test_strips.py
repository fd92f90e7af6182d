"""Strips of slices: grey values, outlines on the boundary and nowhere else, dashes, bytes that repeat."""

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cohortseg.report.strips import image_strip, outline_strip

BLUE = "#2040ff"


def opened(picture, mode):
    return np.asarray(Image.open(BytesIO(picture)).convert(mode)).astype(int)


@pytest.fixture
def mask():
    found = np.zeros((20, 30), dtype=np.uint8)
    found[5:15, 10:25] = 1
    return found


def test_slices_lie_below_each_other_in_grey():
    strip = opened(image_strip([np.zeros((4, 6)), np.full((4, 6), 50.0)], window=(0, 100), size_px=(20, 30)), "L")
    assert strip.shape == (40, 30)
    assert strip[:18].mean() == pytest.approx(0, abs=3)
    assert strip[22:].mean() == pytest.approx(127, abs=4)


def test_undefined_voxels_are_black_and_an_empty_window_is_no_error():
    strip = opened(image_strip([np.full((8, 8), np.nan)], window=(5, 5), size_px=(16, 16)), "L")
    assert strip.max() <= 3


def test_lines_run_on_the_boundary_only(mask):
    strip = opened(
        outline_strip([np.zeros_like(mask), mask], size_px=(80, 120), colours={1: BLUE}, is_dashed=False), "RGBA"
    )
    assert strip.shape == (160, 120, 4)
    alpha = strip[..., 3]
    assert alpha[:78].max() == 0
    rows, columns = np.nonzero(alpha[80:] > 200)
    assert (rows.min(), columns.min()) == pytest.approx((4 * 5, 4 * 10), abs=2)
    assert (rows.max(), columns.max()) == pytest.approx((4 * 15, 4 * 25), abs=2)
    assert alpha[80 + 28 : 80 + 52, 50:90].max() == 0
    assert strip[80 + 20, 70, 2] > 180


def test_predictions_are_dashed(mask):
    solid, dashed = (
        opened(outline_strip([mask], size_px=(80, 120), colours={1: BLUE}, is_dashed=is_dashed), "RGBA")[..., 3]
        for is_dashed in (False, True)
    )
    top = slice(18, 23), slice(44, 96)
    assert solid[top].max(axis=0).min() > 200
    n_gaps = np.count_nonzero(np.diff((dashed[top].max(axis=0) > 128).astype(int)) == -1)
    assert 3 <= n_gaps <= 8


def test_no_label_is_no_picture_and_the_same_label_the_same_bytes(mask):
    options = {"size_px": (40, 60), "colours": {1: BLUE}, "is_dashed": True}
    assert outline_strip([np.zeros_like(mask)], **options) == b""
    assert outline_strip([mask], **options) == outline_strip([mask], **options)


def test_a_label_without_a_colour_is_drawn_all_the_same(mask):
    assert opened(outline_strip([mask * 77], size_px=(40, 60), colours={}, is_dashed=False), "RGBA")[..., 3].max() > 200
