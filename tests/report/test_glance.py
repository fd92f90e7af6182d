"""The first glance: the leader is the best, and a verdict claims no more than the comparison does."""

import math
import re

import pandas as pd
import pytest
from report_content import comparison_of, empty_content, flow_table, full_content, metric_rows, summary_of

from cohortseg.report.flow import Flow, flow_diagram
from cohortseg.report.glance import best, empty_handed, tiles, verdicts


def summary(metric="dice", **medians):
    """A summary of one label from `name=(median, n_undefined)`."""
    lines = [
        {
            **{"experiment": name, "label": "tumour", "stage": "post", "metric": metric, "median": median},
            **{"n_cases": 14, "n_defined": 14 - n, "n_undefined": n, "ci_low": median - 0.1, "ci_high": median + 0.1},
        }
        for name, (median, n) in medians.items()
    ]
    return pd.DataFrame(lines)


def comparison(metric="dice", difference=0.2, p_holm=0.01, p_value=0.005):
    line = {"experiment_a": "a", "experiment_b": "b", "label": "tumour", "stage": "post", "metric": metric}
    numbers = {"n_pairs": 14, "median_difference": difference, "p_value": p_value, "p_holm": p_holm}
    return pd.DataFrame([{**line, **numbers}])


def said(metric="dice", medians=None, info=None, **line):
    table = summary(metric, **(medians or {"a": (0.8, 0), "b": (0.6, 0)}))
    content = full_content(
        summary=table, comparison=comparison(metric, **line), primary_metric=metric, metric_info=info or {}
    )
    return verdicts(content, best(table, metric))


def test_a_supported_verdict_names_winner_medians_pairs_and_p():
    assert said() == ["a beats b: Dice median 0.80 vs 0.60 (n=14 pairs, p = 0.010 after Holm correction)."]


def test_the_winner_may_be_either_side():
    assert said(medians={"a": (0.6, 0), "b": (0.8, 0)}, difference=-0.2)[0].startswith("b beats a: Dice median 0.80")


def test_a_distance_is_better_when_smaller():
    text = said("hd95_mm", {"a": (4.0, 0), "b": (9.5, 0)}, {"hd95_mm": ("mm", "")}, difference=-5.5)[0]
    assert text.startswith("a beats b: HD95 median 4.0 vs 9.5 mm")


@pytest.mark.parametrize("p_holm", [0.05, 0.4, 1.0])
def test_without_significance_nobody_beats_anybody(p_holm):
    (text,) = said(p_holm=p_holm)
    assert text.startswith("The data do not tell a and b apart on Dice")
    assert "beats" not in text


def test_the_uncorrected_p_does_not_support_a_verdict():
    assert "beats" not in said(p_value=0.001, p_holm=0.2)[0]


def test_a_difference_against_the_medians_is_told_as_it_is():
    (text,) = said(difference=-0.03)
    assert text.startswith("b is ahead of a case by case (Dice a minus b: median −0.03")


def test_a_winner_that_fails_more_often_does_not_beat():
    medians = {"a": (4.0, 5), "b": (9.5, 0)}
    assert "beats" not in said("hd95_mm", medians, difference=-5.5)[0]


def test_failing_in_most_subjects_is_told_even_if_the_rest_is_better():
    (text,) = said("hd95_mm", {"a": (4.0, 9), "b": (9.5, 0)}, difference=math.inf)
    assert text.startswith("b is ahead of a, which found nothing in half of the cases or more (n=14 pairs")


def test_too_few_pairs_are_said():
    assert said(p_holm=math.nan, p_value=math.nan) == ["a and b cannot be compared (14 pairs)."]


def test_without_comparison_there_is_no_verdict():
    content = full_content(comparison=pd.DataFrame())
    assert verdicts(content, best(content.summary, "dice")) == []


def test_several_labels_are_named():
    rows = metric_rows(("liver", "spleen"))
    content = full_content(rows=rows, summary=summary_of(rows), comparison=comparison_of(("liver", "spleen")))
    texts = verdicts(content, best(content.summary, "dice"))
    assert [text.partition(":")[0] for text in texts] == ["liver", "spleen"]


def test_of_many_rivals_the_nearest_are_told():
    medians = dict(
        zip("abcdefg", [(0.1, 0), (0.8, 0), (0.2, 0), (0.7, 0), (math.nan, 14), (0.3, 0), (0.75, 0)], strict=True)
    )
    table = summary(**medians)
    pairs = [
        comparison().assign(
            experiment_a=min(name, "b"), experiment_b=max(name, "b"), median_difference=0.1 if name > "b" else -0.1
        )
        for name in "acdefg"
    ]
    content = full_content(summary=table, comparison=pd.concat(pairs, ignore_index=True))
    texts = verdicts(content, best(table, "dice"))
    assert [text.split(":")[0] for text in texts] == [f"b beats {name}" for name in "gdfc"]


def test_the_best_is_chosen_by_the_direction_of_the_metric():
    assert best(summary(a=(0.5, 0), b=(0.7, 0)), "dice")[0].experiment == "b"
    assert best(summary("hd95_mm", a=(5, 0), b=(7, 0)), "hd95_mm")[0].experiment == "a"
    assert best(summary(b=(0.7, 0), a=(0.7, 0)), "dice")[0].experiment == "a"
    assert best(summary(a=(math.nan, 14)), "dice") == []
    assert best(summary("volume_difference_ml", a=(1.0, 0)), "volume_difference_ml") == []


def test_the_tiles_of_a_study():
    content = full_content()
    shown = tiles(content, flow_diagram(flow_table()), best(content.summary, "dice"))
    assert [(tile.title, tile.figure) for tile in shown[:3]] == [
        ("Scans found", "19"),
        ("Cases evaluated", "14"),
        ("Scans rejected", "4"),
    ]
    assert shown[2].remark == "1 more not scored"
    assert shown[3].title == "Best Dice: unet2d"
    assert re.fullmatch(r"median; mean 0\.\d\d \(95 % CI 0\.\d\d–0\.\d\d\); n=14", shown[3].remark)


def test_the_leader_of_most_labels_stands_for_several():
    rows = metric_rows(("liver", "spleen"))
    content = full_content(rows=rows, summary=summary_of(rows))
    tile = tiles(content, Flow(), best(content.summary, "dice"))[3]
    assert tile.title == "Best Dice: unet2d"
    assert tile.remark == "medians of 2 of 2 labels"


def test_a_single_experiment_is_not_called_best():
    rows = metric_rows(levels={"unet2d": 0.8})
    content = full_content(rows=rows, summary=summary_of(rows))
    assert tiles(content, Flow(), best(content.summary, "dice"))[3].title == "Dice of unet2d"


def test_an_empty_study_has_three_zeros():
    shown = tiles(empty_content(), Flow(), [])
    assert [tile.figure for tile in shown] == ["0", "0", "0"]
    assert shown[1].remark == "no case has been scored"


def test_two_failures_are_no_victory():
    assert said(medians={"a": (0.004, 0), "b": (0.0, 0)}) == [
        "a and b both miss half of the cases or more; mean Dice – vs – (n=14 pairs, p = 0.010 after Holm correction)."
    ]


def test_an_experiment_that_finds_nothing_in_half_of_the_cases_is_warned_of():
    rows = pd.DataFrame(
        {"experiment": list("aabb"), "label": "tumour", "stage": "post", "split": "val", "case": list("xyxy")}
    )
    rows = rows.assign(reference_ml=2.0, prediction_ml=[0.0, 1.0, 1.0, 1.0])
    assert empty_handed(full_content(rows=rows)) == ["a found no tumour in 1 of 2 cases."]
    assert empty_handed(full_content(rows=rows.assign(reference_ml=0.0))) == []
