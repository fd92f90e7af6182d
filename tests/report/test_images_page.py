"""The page of a study that makes images: errors by experiment, pairs, verdicts, panels whose difference is a - b."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from report_content import full_content

from cohortseg.report.image_panel import Made, difference, image_panel, png_of
from cohortseg.report.images import CasePanel, ImageResults, leader, pairs, tables, verdicts
from cohortseg.report.methods_of_images import PARTS_OF_IMAGES
from cohortseg.report.methods_text import Facts, methods_text
from cohortseg.report.page import render
from cohortseg.settings import StatisticsSettings
from cohortseg.steps.curves import HEAD, Scored
from cohortseg.steps.image_pictures import chosen
from cohortseg.steps.image_tables import image_tables

ERRORS = {"linear": 80.0, "unet": 40.0, "unet-tuned": 30.0}


def scored(errors=None, n=8):
    """Records of `evaluate`: every case a little worse than the one before."""
    found = []
    for experiment, error in (errors or ERRORS).items():
        for k in range(n):
            names = ["s", experiment, "0", "1", "val", f"p{k}_ct1", f"p{k}"]
            rows = {}
            for region, scale in (("body", 1.0), ("whole", 0.5)):
                mae = scale * (error + k)
                row = {"n_voxels": 100, "mae": mae, "bias": -1.0, "rmse": 2 * mae, "mae_grey": mae * 255 / 3000}
                rows[region] = {**row, "psnr_db": 20 * np.log10(3000 / (2 * mae)), "ssim": 0.8, "missing": ""}
            found.append(Scored(dict(zip(HEAD, names, strict=True)), {"images": rows}, {}))
    return found


def results(**changes):
    made = image_tables(scored(changes.pop("errors", None)), StatisticsSettings(bootstrap=200, permutations=200))
    values = {"rows": made["images"], "summary": made["images_summary"], "comparison": made["images_comparison"]}
    values |= {"target": "ct", "unit": "HU", "inputs": ["mr"], "low": -1000.0, "high": 2000.0, "bits": 8}
    return ImageResults(**(values | changes))


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_each_region_has_a_table_with_a_line_for_each_experiment_and_the_best_in_bold():
    body, whole = tables(results())
    assert body.caption == "Inside the body, cross-validation"
    assert whole.caption == "Whole image, cross-validation"
    titles = [(column.title, column.unit) for column in body.columns]
    assert titles[2:5] == [("MAE", "HU"), ("MAE", "of 255"), ("RMSE", "HU")]
    assert ("PSNR", "dB") in titles
    assert [row[0] for row in texts(body)] == ["linear", "unet", "unet-tuned"]
    assert [row[2] for row in texts(body)] == ["83.5", "43.5", "33.5"]
    bold = [row[0].text for row in body.rows if row[2].is_strong]
    assert bold == ["unet-tuned"]
    psnr = [row[titles.index(("PSNR", "dB"))] for row in body.rows]
    assert [cell.is_strong for cell in psnr] == [False, False, True]
    assert re.fullmatch(r"\d+\.\d–\d+\.\d", body.rows[0][2].note)


def test_pairs_say_by_how_much_and_whom_the_difference_favours():
    lines = texts(pairs(results()))
    (line,) = [row for row in lines if row[1:5] == ["Inside the body", "linear", "unet", "MAE (HU)"]]
    assert line[5:7] == ["8", "+40.0"]
    assert line[-1] == "unet"
    (psnr,) = [row for row in lines if row[1:5] == ["Inside the body", "linear", "unet", "PSNR (dB)"]]
    assert psnr[6].startswith("−")
    assert psnr[-1] == "unet"


def test_the_verdict_names_the_leader_and_whom_it_beats():
    found = results()
    assert leader(found)["experiment"] == "unet-tuned"
    assert verdicts(replace(found, confidence="90 %"))[0].count("(90 % CI ") == 1
    first, *others = verdicts(found)
    assert first.startswith("unet-tuned makes ct with a mean absolute error of 33.5 HU (95 % CI ")
    assert others == [
        "It beats linear: −50.0 HU (p = 0.023 after Holm correction).",
        "It beats unet: −10.0 HU (p = 0.023 after Holm correction).",
    ]


def test_equal_experiments_are_not_told_apart():
    sentences = verdicts(results(errors={"a": 40.0, "b": 40.0}))
    assert sentences[1] == "The data do not tell it apart from b (0.0 HU, 8 pairs)."


def test_nothing_made_is_said_so():
    made = image_tables([], StatisticsSettings())
    empty = results(rows=made["images"], summary=made["images_summary"], comparison=made["images_comparison"])
    assert tables(empty) == []
    assert pairs(empty) is None
    assert verdicts(empty) == []
    page = render(full_content(images=empty))
    assert "No image has been compared with a real one" in page


def test_the_page_shows_images_and_nothing_of_labels():
    panel = CasePanel("p1_ct1", "worst", "unet", 50.0, b"\x89PNG")
    page = render(full_content(images=results(panels=[panel]), rows=pd.DataFrame()))
    assert "Image synthesis study" in page
    assert "3\u202f000 HU, is the peak of the PSNR" in page
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert "Hausdorff" not in page[page.index('id="methods"') : page.index('id="settings"')]
    assert "after post-processing" not in page[page.index('id="results"') : page.index('id="subgroups"')]
    assert page == render(full_content(images=results(panels=[panel]), rows=pd.DataFrame()))


def test_the_methods_text_says_what_was_made_of_what_and_how_it_was_judged():
    task = {"target": "ct", "inputs": [], "range": [-1000.0, 2000.0], "coarser": [1, 1, 1]}
    settings = {"synthesis": task, "cohort": {"channels": {"mr": {}, "ct": {}}}, "experiments": {}}
    paragraphs = dict(methods_text(Facts(settings), PARTS_OF_IMAGES).paragraphs)
    assert paragraphs["Images"].startswith("ct was made from mr. Networks learned the target as shares of the range")
    assert "(with the width of the range as peak)" in paragraphs["Evaluation"]
    assert "Dice" not in " ".join(paragraphs.values())
    finer = methods_text(Facts(settings | {"synthesis": task | {"coarser": [3, 1, 1]}}), PARTS_OF_IMAGES)
    assert (
        "ct was made from ct. The inputs were averaged over blocks of 3 × 1 × 1 voxels"
        in dict(finer.paragraphs)["Images"]
    )


def test_worst_median_and_best_are_each_shown_once():
    assert chosen(["a", "b", "c", "d"]) == [("worst", "d"), ("median", "b"), ("best", "a")]
    assert chosen(["a"]) == [("worst", "a")]
    assert chosen([]) == []


# ---- the panel ------------------------------------------------------------------------------------------------------


def drawn():
    real = np.linspace(-1000, 1000, 30 * 20).reshape(30, 20)
    made = [Made("unet", real + 100, 100.0), Made("linear", real - 300, float("nan"))]
    return image_panel(("mr", real / 7), ("ct", real), made, window=(-1000, 1000), span=2000.0, unit="HU", aspect=2.0)


@pytest.fixture
def figure():
    return drawn()


def test_the_difference_is_what_was_made_less_what_is_real(figure):
    made, real = np.array([[3.0, 1.0]]), np.array([[1.0, 4.0]], np.float32)
    np.testing.assert_array_equal(difference(made, real), [[2.0, -3.0]])
    first, second = figure.axes[3], figure.axes[7]
    np.testing.assert_allclose(first.images[0].get_array(), 100.0, rtol=1e-5)
    np.testing.assert_allclose(second.images[0].get_array(), -300.0, rtol=1e-5)


def test_all_differences_share_one_colour_bar_with_the_unit_and_real_and_made_one_window(figure):
    limits = {axes.images[0].get_clim() for axes in (figure.axes[3], figure.axes[7])}
    assert limits == {(-300.0, 300.0)}
    windows = {figure.axes[k].images[0].get_clim() for k in (1, 2, 5, 6)}
    assert windows == {(-1000.0, 1000.0)}
    assert figure.axes[8].get_ylabel() == "HU"
    assert [axes.get_title() for axes in figure.axes[:4]] == ["input: mr", "real: ct", "unet, MAE 100.0", "made − real"]
    assert figure.axes[6].get_title() == "linear"


def test_the_same_figure_is_the_same_bytes():
    first = png_of(drawn())
    assert first.startswith(b"\x89PNG")
    assert png_of(drawn()) == first
    assert b"matplotlib" not in first.lower()
