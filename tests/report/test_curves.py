"""Curves are drawn from the tables that are there: the leading split, the last stage, one line per experiment."""

import numpy as np
import pandas as pd
from report_content import empty_content, full_content

from cohortseg.report.curves import CURVES, curve_plot, curves, points


def table_of(n=5, split="val", stage="post", curve="precision_recall", label="tumour"):
    head = {"label": label, "stage": stage, "split": split, "curve": curve}
    lines = [
        {**head, "experiment": name, "x": k / (n - 1), "y": 1 - k / (2 * n)}
        for name in ("threshold", "unet2d")
        for k in range(n)
    ]
    return pd.DataFrame(lines)


def test_what_is_there_is_drawn_in_the_order_of_the_page():
    calibration = pd.DataFrame(
        {
            "experiment": ["unet2d"],
            "label": ["tumour"],
            "stage": ["raw"],
            "split": ["val"],
            "mean_probability": [0.4],
            "observed": [0.5],
        }
    )
    content = full_content(
        tables={"curves": pd.concat([table_of(curve="trimap"), table_of()]), "calibration": calibration}
    )
    assert [title for title, _ in curves(content)] == ["Precision and recall", "Boundary band", "Calibration"]
    assert curves(empty_content()) == []


def test_splits_and_stages_are_not_mixed():
    tables = {
        "curves": pd.concat(
            [table_of(), table_of(split="test"), table_of(stage="raw"), table_of(split="test", stage="raw")]
        )
    }
    found = points(tables, "precision_recall")
    assert set(found["split"]) == {"test"}
    assert set(found["stage"]) == {"post"}
    assert len(found) == 10


def test_undefined_points_are_left_out():
    assert len(points({"curves": table_of().assign(y=[np.nan, *[0.5] * 9])}, "precision_recall")) == 9
    assert points({"curves": table_of().assign(y=np.nan)}, "roc").empty


def test_several_labels_are_named_and_long_curves_thinned():
    content = full_content(tables={"curves": pd.concat([table_of(n=5000), table_of(label="oedema")])})
    drawn = curves(content)
    assert [title for title, _ in drawn] == ["Precision and recall: tumour", "Precision and recall: oedema"]
    assert len(drawn[0][1]) < 40_000


def test_the_same_points_give_the_same_bytes():
    table = table_of()
    assert curve_plot(table, CURVES["roc"], ["threshold"]) == curve_plot(table, CURVES["roc"], ["threshold"])
