"""Pictures are grouped by experiment and described in words."""

import math
from dataclasses import replace

from report_content import overlays

from cohortseg.report.content import Overlay
from cohortseg.report.gallery import legend, walls
from cohortseg.report.style import label_colours

OVERLAY = Overlay("b", "c1", ("tumour", "oedema"), "worst", "hd95_mm", 12.34, b"\x89PNG", "slice 4")


def test_worst_cases_come_before_median_ones_and_nothing_is_lost():
    pictures = overlays(n_each=2)
    shown = walls(pictures[::-1])
    assert [(wall.experiment, wall.title) for wall in shown] == [
        ("threshold", "Worst cases"),
        ("threshold", "Median cases"),
        ("unet2d", "Worst cases"),
        ("unet2d", "Median cases"),
    ]
    assert sum(len(wall.pictures) for wall in shown) == len(pictures)


def test_the_alternative_text_says_what_is_seen():
    picture = walls([OVERLAY])[0].pictures[0]
    assert picture.alt == (
        "One slice of case c1 with the outlines of reference (solid) and prediction of b (dashed): tumour, oedema. "
        "HD95 12.3."
    )
    assert picture.source == "data:image/png;base64,iVBORw=="


def test_an_undefined_value_is_said():
    picture = walls([replace(OVERLAY, value=math.nan)])[0].pictures[0]
    assert picture.value == "HD95 –"
    assert picture.alt.endswith("HD95 undefined.")


def test_the_legend_uses_the_colours_of_the_pictures():
    lines = legend([OVERLAY])
    assert [(line.label, line.reference, line.prediction) for line in lines] == [
        ("tumour", *label_colours(2)[1]),
        ("oedema", *label_colours(2)[2]),
    ]
    assert legend([]) == []
    assert walls([]) == []
