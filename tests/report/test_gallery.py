"""Pictures are grouped by experiment and described in words; each one stands in the page once."""

import math
from dataclasses import replace

from report_content import overlays, views

from cohortseg.report.content import Overlay, Plane
from cohortseg.report.gallery import backgrounds, legend, walls
from cohortseg.report.style import label_colours

PLANE = Plane("coronal", (30, 40), (7, 5, 3), 9, 1, b"RIFF", b"")
OVERLAY = Overlay("b", "c1", ("tumour", "oedema"), "worst", "hd95_mm", 12.34, (b"WEBP",), "21 ml")


def test_worst_cases_come_before_median_and_best_ones_and_nothing_is_lost():
    shown = walls(overlays()[::-1], views())
    assert [wall.experiment for wall in shown] == ["threshold", "unet2d"]
    assert [[picture.kind for picture in wall.pictures] for wall in shown] == [["worst", "median", "best"]] * 2


def test_the_words_say_what_is_seen():
    picture = walls([OVERLAY], {"c1": [PLANE]})[0].pictures[0]
    (view,) = picture.views
    assert picture.value == "HD95 12.3"
    assert view.alt == "Coronal slices of case c1 with outlines of the prediction of b (dashed): tumour, oedema."
    assert (view.place, view.numbers, view.n, view.key) == ("5 of 9", "7,5,3", 3, 1)
    assert view.prediction == "data:image/webp;base64,V0VCUA=="


def test_a_picture_without_outlines_says_so():
    (view,) = walls([replace(OVERLAY, predictions=(b"",))], {"c1": [PLANE]})[0].pictures[0].views
    assert "no outline in sight" in view.alt
    assert view.prediction == ""


def test_an_undefined_value_is_said():
    assert walls([replace(OVERLAY, value=math.nan)], {"c1": [PLANE]})[0].pictures[0].value == "HD95 –"
    assert walls([replace(OVERLAY, kind="unscored")], {"c1": [PLANE]})[0].pictures[0].value == "not scored"


def test_each_image_stands_once_and_no_name_reaches_the_style():
    css = backgrounds({"</style><script>": [PLANE, replace(PLANE, reference=b"W")]})
    assert css.count("UklGRg==") == 2
    assert css.count(".reference") == 1
    assert "script" not in css


def test_the_legend_uses_the_colours_of_the_pictures():
    lines = legend([OVERLAY])
    assert [(line.label, line.reference, line.prediction) for line in lines] == [
        ("tumour", *label_colours(2)[1]),
        ("oedema", *label_colours(2)[2]),
    ]
    assert legend([]) == []
    assert walls([], {}) == []
