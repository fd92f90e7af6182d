"""Further tables are shown where they are there, with their units, and bounded; so are the cases to look at."""

import pandas as pd
from report_content import empty_content, full_content, quality_table

from cohortseg.report.further import asked_and_used, further
from cohortseg.report.page import render
from cohortseg.report.quality import empty_sentences, quality_sentence
from cohortseg.report.quality import quality_table as table_of


def test_what_is_there_is_shown_in_the_order_of_the_page():
    tables = {
        "agreement": pd.DataFrame({"experiment": ["a"], "ece": [0.03125], "study": ["s"]}),
        "ranks": pd.DataFrame({"experiment": ["a", "b"], "metric": ["dice", "hd95_mm"], "rank": [1, 2]}),
        "gaps": pd.DataFrame({"experiment": []}),
        "unheard-of": pd.DataFrame({"x": [1]}),
    }
    dictionary = pd.DataFrame({"table": ["agreement"], "column": ["ece"], "unit": ["fraction"], "definition": ["d"]})
    shown = further(full_content(tables=tables, dictionary=dictionary))
    assert [part.title for part in shown] == ["Ranks", "Agreement of volumes"]
    assert [column.title for column in shown[1].table.columns] == ["Experiment", "Calibration error (ECE)"]
    assert [[cell.text for cell in row] for row in shown[0].table.rows] == [["a", "Dice", "1"], ["b", "HD95", "2"]]
    assert shown[1].table.rows[0][1].text == "0.03125"
    assert shown[1].table.columns[1].is_number


def test_units_come_from_the_data_dictionary():
    tables = {"agreement": pd.DataFrame({"bias_ml": [-3.5], "icc": [0.9]})}
    dictionary = pd.DataFrame({"table": ["agreement.csv"] * 2, "column": ["bias_ml", "icc"], "unit": ["ml", "1"]})
    (shown,) = further(full_content(tables=tables, dictionary=dictionary))
    assert [(column.title, column.unit) for column in shown.table.columns] == [("Bias", "ml"), ("Icc", "")]
    assert shown.table.rows[0][0].text == "−3.5"


def test_what_is_the_same_in_all_lines_is_said_once_and_empty_columns_are_left_out():
    table = pd.DataFrame(
        {
            "experiment": ["a", "b"],
            "label": ["x", "x"],
            "split": ["val", "val"],
            "n_cases": [3, 3],
            "note": [None, None],
        }
    )
    (shown,) = further(full_content(tables={"variance": table}))
    assert [column.title for column in shown.table.columns] == ["Experiment", "Cases"]
    assert shown.table.note == "All lines: label x, split val."


def test_lines_that_post_processing_left_alone_are_shown_once():
    table = pd.DataFrame(
        {"experiment": ["a", "a", "b", "b"], "stage": ["post", "raw"] * 2, "bias_ml": [1.0, 1.0, 2.0, 3.0]}
    )
    (shown,) = further(full_content(tables={"agreement": table}))
    assert [[cell.text for cell in row[:2]] for row in shown.table.rows] == [
        ["a", "raw = post"],
        ["b", "post"],
        ["b", "raw"],
    ]


def test_a_long_table_is_cut_and_says_where_the_rest_is():
    (shown,) = further(full_content(tables={"covariates": pd.DataFrame({"case": range(1000)})}))
    assert len(shown.table.rows) == 40
    assert shown.table.note == "960 more lines in tables/covariates.csv."


def test_the_cases_to_look_at_come_first_and_the_rest_is_counted():
    content = full_content(quality=pd.concat([quality_table()] * 20))
    table = table_of(content)
    assert len(table.rows) == 25
    assert table.note == "15 more predictions that stand out in tables/quality.csv."
    assert table.rows[0][0].text == "sts-031"
    assert table.rows[0][3].text == "no reference"
    assert quality_sentence(content) == "Of 60 predictions (20 without a reference) 40 stand out."


def test_where_most_predictions_are_empty_a_sentence_counts_them():
    lines = [("unet", f"c{k}", False, 0.5, "tumour;node" if k < 3 else "tumour", "nothing predicted") for k in range(4)]
    lines += [("otsu", f"c{k}", False, 0.5, "tumour" if k < 2 else float("nan"), "") for k in range(4)]
    names = ["experiment", "case", "is_scored", "score", "empty", "findings"]
    content = full_content(quality=pd.DataFrame(lines, columns=names))
    told = ["unet: 3 of 4 predictions hold no node.", "unet: 4 of 4 predictions hold no tumour."]
    assert empty_sentences(content) == told
    assert all(f"<strong>{sentence}</strong>" in render(content) for sentence in told)
    assert empty_sentences(full_content()) == []


def test_nothing_looked_at_is_nothing_shown():
    assert quality_sentence(empty_content()) == ""
    assert table_of(empty_content()) is None
    assert further(empty_content()) == []


def test_asked_and_used_are_shown_by_stage():
    asked = pd.DataFrame([{"work": "convert", "n": 12, "asked_mb": 650, "used_mb": 107, "mb_asked_per_used": 5.9}])
    content = full_content(tables={"estimates": asked})
    assert further(content) == []
    shown = asked_and_used(content)
    assert [column.title for column in shown.table.columns][:3] == ["Stage", "Records", "Asked, MB"]
    assert [cell.text for cell in shown.table.rows[0]] == ["convert", "12", "650", "107", "5.9"]
    assert asked_and_used(empty_content()) is None


def test_lines_without_a_result_are_counted_and_not_shown():
    table = pd.DataFrame({"experiment": ["a", "b"], "covariate": "days", "rho": [0.5, float("nan")]})
    (shown,) = further(full_content(tables={"covariates": table}))
    assert len(shown.table.rows) == 1
    assert "1 line without a result in tables/covariates.csv" in shown.table.note
    assert further(full_content(tables={"covariates": table.iloc[1:]})) == []
