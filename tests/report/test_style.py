"""The palette: readable on light and dark pages, and no two things alike."""

import pytest

from cohortseg.report.style import PALETTE, css_variables, label_colours, series

TEXT = ("ink", "muted", "accent", "warning")
LINES = (*(f"series-{k}" for k in range(1, 9)), "frame")


def luminance(colour):
    channels = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_on_white_is_21():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_has_the_contrast_that_wcag_asks_for(scheme):
    for name in TEXT:
        for ground in ("paper", "panel"):
            assert contrast(PALETTE[name][scheme], PALETTE[ground][scheme]) >= 4.5, (name, ground)


@pytest.mark.parametrize("scheme", [0, 1])
def test_lines_and_dots_stand_out_from_the_page(scheme):
    for name in LINES:
        assert contrast(PALETTE[name][scheme], PALETTE["paper"][scheme]) >= 3, name


def test_every_light_colour_stands_for_one_variable():
    light = [pair[0] for pair in PALETTE.values()]
    assert len(set(light)) == len(light)


def test_sixty_four_experiments_look_different():
    looks = {(series(k).colour, series(k).marker) for k in range(64)}
    assert len(looks) == 64
    assert {(series(k).variable, series(k).glyph) for k in range(64)} != looks


def test_one_label_has_two_colours_and_several_labels_have_one_each():
    (reference, prediction) = label_colours(1)[1]
    assert reference != prediction
    assert all(one == other for one, other in label_colours(5).values())
    assert len(set(label_colours(8).values())) == 8
    assert list(label_colours(20)) == list(range(1, 21))
    assert label_colours(0) == {}


def test_dark_colours_are_for_screens_only():
    css = css_variables()
    assert "@media screen and (prefers-color-scheme:dark)" in css
    assert css.count("--ink:") == 2
