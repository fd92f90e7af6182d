"""Pictures of cases: the right slice, true proportions, outlines on the boundary and nowhere else."""

from io import BytesIO

import matplotlib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cohortseg.report.overlays import crop_around, key_slice, overlay_png
from cohortseg.report.style import label_colours

SPACING_MM = (2.0, 0.8)
WINDOW = (0.0, 100.0)


def pixels(png):
    return np.asarray(Image.open(BytesIO(png)).convert("RGB")).astype(int)


def drawn(image, reference=None, prediction=None, n_labels=1, **options):
    values = {"window": WINDOW, "spacing_mm": SPACING_MM, "label_colours": label_colours(n_labels), **options}
    return overlay_png(image, reference, prediction, **values)


def near(picture, colour, tolerance=60):
    target = np.array([int(colour[k : k + 2], 16) for k in (1, 3, 5)])
    return np.abs(picture - target).max(axis=2) <= tolerance


@pytest.fixture
def image():
    return np.full((40, 70), 30.0)


@pytest.fixture
def mask():
    mask = np.zeros((40, 70), dtype=np.uint8)
    mask[12:30, 20:51] = 1
    return mask


def test_the_slice_with_the_largest_reference_is_shown():
    reference, prediction = np.zeros((5, 6, 7), np.uint8), np.zeros((5, 6, 7), np.uint8)
    reference[1, :2, :2] = 2
    reference[3, :2, :3] = 1
    prediction[4] = 1
    assert key_slice(reference, prediction) == 3
    assert key_slice(np.zeros_like(reference), prediction) == 4
    assert key_slice(None, prediction.astype(bool)) == 4
    assert key_slice(np.zeros_like(reference), None) == 2
    with pytest.raises(ValueError, match="reference or a prediction"):
        key_slice(None, None)


def test_the_picture_has_the_proportions_of_the_patient(image):
    height, width = pixels(drawn(image)).shape[:2]
    assert height == 360
    assert width == round(360 * (70 * 0.8) / (40 * 2.0))
    assert pixels(drawn(image, scale_px=200)).shape[0] == 200


def test_row_zero_is_on_top_and_column_zero_left():
    image = np.zeros((40, 70))
    image[0:10, 0:10] = 100
    picture = pixels(drawn(image))
    height, width = picture.shape[:2]
    assert picture[height // 10, width // 20].min() > 240
    assert picture[-height // 10, width // 20].max() < 10
    assert picture[height // 10, -width // 20].max() < 10


def test_the_window_sets_black_and_white_and_nan_is_black():
    image = np.array([[-50.0, 50.0], [np.nan, 300.0]])
    picture = pixels(drawn(image, spacing_mm=(1.0, 1.0)))
    corners = [picture[y, x, 0] for y, x in ((90, 90), (90, 270), (200, 90), (270, 270))]
    assert corners == [0, pytest.approx(128, abs=2), 0, 255]


def test_an_empty_window_still_gives_a_picture(image):
    assert pixels(drawn(image, window=(30.0, 30.0))).shape[0] == 360


def test_outlines_are_on_the_boundary_only(image, mask):
    plain, outlined = pixels(drawn(image)), pixels(drawn(image, mask))
    is_changed = (plain != outlined).any(axis=2)
    height, width = is_changed.shape
    y, x = np.mgrid[:height, :width] + 0.5
    row, column = y / height * 40, x / width * 70
    distance_px = np.minimum.reduce(
        [
            np.hypot(
                np.maximum(np.maximum(12 - row, row - 30), 0) * height / 40,
                np.maximum(np.maximum(20 - column, column - 51), 0) * width / 70,
            )
            + np.where(
                (row > 12) & (row < 30) & (column > 20) & (column < 51),
                np.minimum(
                    np.minimum(row - 12, 30 - row) * height / 40, np.minimum(column - 20, 51 - column) * width / 70
                ),
                0,
            )
        ]
    )
    assert is_changed.any()
    assert distance_px[is_changed].max() < 12
    assert near(outlined, label_colours(1)[1][0])[is_changed].mean() > 0.3


def test_reference_is_solid_and_prediction_dashed(image, mask):
    reference_colour, prediction_colour = label_colours(1)[1]
    solid = near(pixels(drawn(image, mask, None)), reference_colour).sum()
    dashed = near(pixels(drawn(image, None, mask)), prediction_colour).sum()
    assert 0.4 * solid < dashed < 0.8 * solid


def test_each_class_has_its_own_colour(image, mask):
    both = mask.copy()
    both[20:, :][mask[20:, :] == 1] = 2
    picture = pixels(drawn(image, both, None, n_labels=2))
    for number, (colour, _) in label_colours(2).items():
        assert near(picture, colour, tolerance=30).sum() > 100, number


def test_a_mask_that_fills_the_slice_is_outlined_at_its_border(image):
    full = np.ones(image.shape, dtype=bool)
    assert near(pixels(drawn(image, full)), label_colours(1)[1][0], tolerance=110).any()


def test_no_mask_and_an_empty_mask_draw_nothing(image, mask):
    empty = np.zeros_like(mask)
    assert drawn(image) == drawn(image, empty, empty) == drawn(image, None, empty)


def test_the_same_data_gives_the_same_bytes_whatever_the_user_has_set(image, mask):
    image[:10] = 80
    first, plain = drawn(image, mask, mask), drawn(image)
    with matplotlib.rc_context({"image.origin": "lower", "font.size": 30, "lines.dash_capstyle": "round"}):
        assert (drawn(image, mask, mask), drawn(image)) == (first, plain)
        assert matplotlib.rcParams["font.size"] == 30


def test_a_picture_is_small_enough_to_embed():
    y, x = np.mgrid[:512, :512]
    body = np.hypot((y - 256) / 180, (x - 256) / 240) < 1
    image = np.where(body, 40, -1000) + np.random.default_rng(1).normal(0, 15, (512, 512))
    assert len(drawn(image, window=(-160.0, 240.0), spacing_mm=(0.9, 0.9))) < 150_000


def test_what_does_not_fit_together_is_refused(image, mask):
    with pytest.raises(ValueError, match="label"):
        drawn(image, mask[:, :-1])
    with pytest.raises(ValueError, match="slice of shape"):
        drawn(image[None])


def test_a_crop_keeps_a_margin_in_mm_around_both_masks():
    reference, prediction = np.zeros((200, 300), bool), np.zeros((200, 300), bool)
    reference[100:120, 150:200] = True
    prediction[110:130, 190:220] = True
    rows, columns = crop_around(reference, prediction, shape=(200, 300), spacing_mm=(2.0, 1.0), margin_mm=10)
    assert (rows.start, rows.stop) == (95, 135)
    assert (columns.start, columns.stop) == (140, 230)
    whole = crop_around(None, None, shape=(200, 300), spacing_mm=(2.0, 1.0), margin_mm=10)
    assert whole == (slice(0, 200), slice(0, 300))


@settings(max_examples=50, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 90),
    st.integers(0, 59),
    st.integers(0, 89),
    st.floats(0.2, 6),
    st.floats(0, 50),
)
def test_a_crop_never_loses_a_labelled_pixel(height, width, row, column, spacing, margin):
    mask = np.zeros((60, 90), bool)
    mask[row : row + height, column : column + width] = True
    rows, columns = crop_around(mask, None, shape=(60, 90), spacing_mm=(spacing, 2 * spacing), margin_mm=margin)
    assert mask[rows, columns].sum() == mask.sum()
    assert 0 <= rows.start < rows.stop <= 60
    assert 0 <= columns.start < columns.stop <= 90
