"""Tables of results: the numbers of the summary, each with its n."""

import numpy as np
import pandas as pd
from report_content import comparison_of, full_content, metric_rows, summary_of

from cohortseg.report.results import (
    SAME_STAGE,
    comparison_tables,
    detail_table,
    label_table,
    merge_stages,
    overview_table,
    same_when_cleaned,
)


def grid(table):
    return [[cell.text for cell in row] for row in table.rows]


def titles(table):
    return [column.title for column in table.columns]


def test_experiments_that_post_processing_leaves_alone_get_one_line():
    content = full_content()
    same = same_when_cleaned(content.summary)
    assert same == {("threshold", "tumour")}
    merged = merge_stages(content.summary, same)
    assert set(merged.loc[merged["experiment"] == "threshold", "stage"]) == {SAME_STAGE}
    assert set(merged.loc[merged["experiment"] == "unet2d", "stage"]) == {"raw", "post"}


def test_one_number_that_differs_keeps_both_lines():
    summary = summary_of(metric_rows(cleaned=()))
    assert len(same_when_cleaned(summary)) == 2
    line = (summary["experiment"] == "unet2d") & (summary["stage"] == "raw") & (summary["metric"] == "nsd")
    summary.loc[line, "max"] += 1e-9
    assert same_when_cleaned(summary) == {("threshold", "tumour")}


def test_what_is_measured_of_probabilities_keeps_its_numbers_and_no_line_apart():
    summary = summary_of(metric_rows())
    twin = summary[(summary["experiment"] == "threshold") & (summary["metric"] == "nsd")].assign(metric="ece")
    is_post = twin["stage"] == "post"
    twin.loc[is_post, ["median", "n_defined"]] = np.nan, 0
    twin.loc[~is_post, "median"] = 0.125
    both = pd.concat([summary, twin], ignore_index=True)
    assert same_when_cleaned(both) == {("threshold", "tumour")}
    merged = merge_stages(both, same_when_cleaned(both))
    assert merged.loc[merged["metric"] == "ece", ["stage", "median"]].to_numpy().tolist() == [[SAME_STAGE, 0.125]]
    assert set(merged.loc[merged["experiment"] == "threshold", "stage"]) == {SAME_STAGE}


def test_merging_an_empty_table_is_an_empty_table():
    empty = pd.DataFrame(columns=["experiment", "label", "stage"])
    assert merge_stages(empty, frozenset()).empty
    assert same_when_cleaned(pd.DataFrame()) == frozenset()


def test_the_label_table_shows_medians_quartiles_and_the_n_of_undefined():
    summary = pd.DataFrame(
        {
            "experiment": "a",
            "label": "tumour",
            "stage": "post",
            "metric": ["hd95_mm", "dice"],
            "n_cases": 14,
            "n_subjects": 12,
            "n_defined": [11, 14],
            "n_undefined": [3, 0],
            "median": [5.26, 0.834],
            "q1": [4.0, 0.77],
            "q3": [7.24, 0.9],
        }
    )
    table = label_table(full_content(), summary, "tumour")
    assert titles(table) == ["Experiment", "Stage", "Cases", "Dice", "HD95"]
    assert table.columns[4].unit == "mm"
    assert grid(table) == [["a", "post-processed", "14", "0.83", "5.3"]]
    assert [cell.note for cell in table.rows[0]] == ["", "", "12 subjects", "0.77–0.90", "4.0–7.2, n=11"]
    assert table.note


def test_the_overview_puts_labels_in_rows_and_experiments_in_columns():
    rows = metric_rows(("liver", "spleen"))
    table = overview_table(full_content(), summary_of(rows))
    assert titles(table) == ["Label", "threshold", "unet2d"]
    assert [row[0].text for row in table.rows] == ["liver", "spleen"]
    post = rows[(rows["stage"] == "post") & (rows["experiment"] == "unet2d") & (rows["label"] == "spleen")]
    assert table.rows[1][2].text == f"{post['dice'].median():.2f}"


def test_the_details_hold_every_line_of_the_summary():
    content = full_content()
    table = detail_table(content, content.summary, "tumour")
    assert len(table.rows) == len(content.summary)
    counts = {(row[0].text, row[1].text, row[2].text): [cell.text for cell in row[3:6]] for row in table.rows}
    assert counts["NSD", "threshold", "raw"] == ["14", "13", "1"]


def test_metrics_that_no_case_defines_are_named_below_the_details():
    content = full_content()
    extra = content.summary[content.summary["metric"] == "dice"].assign(metric="brier", median=np.nan, mean=np.nan)
    table = detail_table(content, pd.concat([content.summary, extra]), "tumour")
    assert len(table.rows) == len(detail_table(content, content.summary, "tumour").rows)
    assert table.note == "Defined for no case: Brier score."


def test_the_comparison_on_the_primary_metric_stands_apart():
    content = full_content()
    first, others = comparison_tables(content)
    assert grid(first) == [["threshold", "unet2d", "tumour", "Dice", "14", "−0.41", "< 0.001", "< 0.001", "−1.00", "–"]]
    assert {row[3].text for row in others.rows} == {"HD95", "ASSD"}
    assert comparison_tables(full_content(comparison=pd.DataFrame())) == (None, None)


def test_an_infinite_difference_and_the_subjects_behind_the_pairs_are_shown():
    table = comparison_of().assign(median_difference=np.inf, n_subjects=12, n_excluded=[0, 3, 0])
    first, others = comparison_tables(full_content(comparison=table))
    assert (first.rows[0][4].note, others.rows[0][4].note) == ("12 subjects", "12 subjects, 3 undefined")
    cell = first.rows[0][5]
    assert (cell.text, cell.note, cell.key) == ("A found nothing", "in half of the pairs or more", "Infinity")
    other, _ = comparison_tables(full_content(comparison=table.assign(median_difference=-np.inf)))
    assert other.rows[0][5].text == "B found nothing"


def test_stages_are_a_column_only_where_they_differ():
    both = pd.concat([comparison_of(), comparison_of().assign(stage="raw")])
    first, _ = comparison_tables(full_content(comparison=both))
    assert "Stage" in titles(first)
