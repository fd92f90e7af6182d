"""Subgroups in the order a reader expects, drawn with their intervals, and their gaps said plainly."""

import numpy as np
import pandas as pd
import pytest
from report_content import full_content, metric_rows, subgroups_of

from cohortseg.report.forest import ForestLine, forest_plot
from cohortseg.report.style import series
from cohortseg.report.subgroups import subgroups


def table_of(values, experiments=("a",), **columns):
    rows = [
        {"experiment": name, "label": "x", "stage": "post", "property": "lesion_size", "value": value, "n_cases": 9}
        for name in experiments
        for value in values
    ]
    numbers = {"median": 0.5, "q1": 0.25, "q3": 0.75, "mean": 0.5, "ci_low": 0.4, "ci_high": 0.6}
    return pd.DataFrame(rows).assign(**{**numbers, **columns})


def test_subgroups_run_from_few_to_much_with_the_experiments_side_by_side():
    values = ["above 30 ml", "below 5 ml", "no lesion", "5 to 30 ml"]
    (shown,) = subgroups(full_content(subgroups=table_of(values, "ba")))
    assert [(row[0].text, row[2].text) for row in shown.table.rows[:4]] == [
        ("no lesion", "a"),
        ("no lesion", "b"),
        ("below 5 ml", "a"),
        ("below 5 ml", "b"),
    ]
    assert [row[0].text for row in shown.table.rows[4::2]] == ["5 to 30 ml", "above 30 ml"]
    assert [cell.text for cell in shown.table.rows[0][3:]] == ["9", "0.50", "0.25–0.75", "0.50", "0.40–0.60"]


def test_a_single_group_is_said_in_words_and_not_drawn():
    (shown,) = subgroups(full_content(subgroups=table_of(["GE"], "ab")))
    assert shown.plots == ()
    assert shown.gaps == ("One group only, nothing to compare: lesion size GE in all cases.",)


def gap_line(**changes):
    line = {"experiment": "a", "label": "x", "split": "", "metric": "dice", "property": "lesion_size"}
    line |= {"best": "new", "worst": "old", "gap": 0.3, "ci_low": 0.21, "ci_high": 0.38}
    return line | {"p_groups": 0.003, "p_groups_holm": 0.006} | changes


def interaction_line(first, second, p, **changes):
    line = {"label": "x", "split": "", "metric": "dice", "property": "lesion_size"}
    line |= {"experiment_a": first, "experiment_b": second, "p_interaction": p, "p_interaction_holm": p}
    line |= {"lowest_group": "old", "lowest_difference": -0.1, "highest_group": "new", "highest_difference": 0.2}
    return line | changes


def said(gaps=(), interactions=(), **changes):
    tables = {"gaps": pd.DataFrame(list(gaps)), "interactions": pd.DataFrame(list(interactions))}
    (shown,) = subgroups(full_content(subgroups=table_of(["old", "new"]), tables=tables, **changes))
    return shown.gaps


def test_a_planted_gap_is_said_with_its_interval_and_its_test():
    assert said([gap_line()]) == (
        "a: a gap of 0.30 (95 % CI 0.21–0.38) between “new” (best) and “old” (worst); p = 0.006 after Holm’s "
        "correction.",
    )
    assert said([gap_line(gap=np.nan)]) == ()
    assert said([gap_line(metric="nsd"), gap_line(property="kernel"), gap_line(label="unknown")]) == ()


def test_whether_the_better_experiment_depends_on_the_group_is_said_either_way():
    assert said(interactions=[interaction_line("a", "b", 0.01), interaction_line("a", "c", 0.4)]) == (
        "a against b: the difference depends on the group, from −0.10 in “old” to 0.20 in “new”; p = 0.010 after "
        "Holm’s correction.",
        "a against c: no sign that the difference depends on the group; p = 0.40 after Holm’s correction.",
    )


def test_many_pairs_are_summed_up_and_only_those_that_differ_are_named():
    lines = [interaction_line("a", f"b{n}", 0.001 if n == 3 else 0.9) for n in range(9)]
    named, counted = said(interactions=lines)
    assert named.startswith("a against b3: the difference depends")
    assert counted.startswith("Of 9 pairs of experiments 1 differ by group")


def test_a_subgroup_without_values_keeps_its_line_and_makes_no_gap():
    undefined = dict.fromkeys(("median", "q1", "q3", "mean", "ci_low", "ci_high"), np.nan)
    for shown in subgroups(full_content(subgroups=subgroups_of(metric_rows()).assign(**undefined))):
        assert all(row[4].text == "–" for row in shown.table.rows)
        assert len(shown.table.rows) == 4
        assert shown.gaps == ()


def test_other_metrics_and_empty_tables_are_left_out():
    table = pd.concat([table_of(["u"], metric="dice"), table_of(["v"], metric="nsd")])
    (shown,) = subgroups(full_content(subgroups=table))
    assert [row[0].text for row in shown.table.rows] == ["u"]
    assert subgroups(full_content(subgroups=pd.DataFrame())) == []


def test_many_groups_stay_bounded():
    (shown,) = subgroups(full_content(subgroups=table_of([f"kernel {n}" for n in range(500)])))
    assert len(shown.table.rows) == 96
    assert "404 more lines in tables/subgroups.csv." in shown.table.note
    assert len(shown.plots[0][1]) < 100_000


def test_a_forest_names_a_group_once_and_writes_its_numbers():
    lines = [ForestLine("old scans", series(k), 12, 0.5 + 0.1 * k, 0.4, 0.9) for k in range(2)]
    lines.append(ForestLine("<&>", series(0), 0, np.nan, np.nan, np.nan))
    svg = forest_plot(lines, "dice", axis_title="Dice", overall=[(series(0), 0.5), (series(1), np.nan)]).decode()
    assert svg.count("old scans") == svg.count("<!-- old scans -->") + 1
    assert "0.50 (0.40–0.90), n=12" in svg
    assert "– (–), n=0" in svg
    assert "&lt;&amp;&gt;" in svg
    assert forest_plot(lines, "dice", axis_title="Dice", overall=[]) == forest_plot(
        lines, "dice", axis_title="Dice", overall=[]
    )


@pytest.mark.parametrize("lines", [[], [ForestLine("x", series(0), 1, 0.5, np.nan, np.nan, is_small=True)]])
def test_a_forest_of_little_is_no_error(lines):
    assert forest_plot(lines, "hd95_mm", axis_title="HD95 (mm)", overall=[]).startswith(b"<?xml")
