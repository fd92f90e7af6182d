"""The cohort flow: everyone found either arrives or leaves for a reason."""

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st
from report_content import flow_table

from cohortseg.report.flow import Flow, flow_diagram


def flow_of(*lines):
    columns = ["stage", "status", "reason", "meaning", "n"]
    return flow_diagram(pd.DataFrame([[*line[:3], f"about {line[2]}", line[3]] for line in lines], columns=columns))


def test_the_flow_of_a_study():
    flow = flow_diagram(flow_table())
    assert [(step.title, step.n) for step in flow.steps] == [
        ("Found", 19),
        ("Taken into the cohort", 16),
        ("Converted", 15),
    ]
    assert [(step.title, step.n) for step in flow.branches] == [("threshold", 14), ("unet2d", 14)]
    assert [(group.reason, group.n) for group in flow.steps[1].leaving] == [("NOT_AN_IMAGE", 2), ("TOO_FEW_SLICES", 1)]
    assert flow.n_rejected == 4


def test_scans_without_a_label_stay_and_are_mentioned():
    converted = flow_diagram(flow_table()).steps[2]
    assert converted.n == 15
    assert [(group.n, group.status) for group in converted.among] == [
        (1, "without a reference label: predicted, not scored")
    ]
    assert sum(group.n for group in converted.leaving) == 1


def test_without_a_found_line_the_first_stage_says_what_was_found():
    flow = flow_of(("convert", "rejected", "TRUNCATED", 3), ("convert", "ok", "", 7), ("evaluate", "ok", "", 7))
    assert [(step.stage, step.n) for step in flow.steps] == [("found", 10), ("convert", 7), ("evaluate", 7)]
    assert flow.steps[1].share == 0.7


def test_what_is_still_to_do_is_not_rejected():
    flow = flow_of(("found", "ok", "", 5), ("convert", "ok", "", 3), ("convert", "pending", "", 2))
    assert flow.n_rejected == 0
    assert [(group.status, group.n) for group in flow.steps[1].leaving] == [("still to do", 2)]


def test_of_many_experiments_those_that_end_alike_share_a_box_and_the_others_keep_theirs():
    ends = {"a": 9, "b": 9, "c": 7, "d": 9, "e": 9, "f": 9, "g": 9}
    lines = [(f"evaluate {name}", "ok", "", n) for name, n in ends.items()]
    flow = flow_of(("found", "ok", "", 10), *lines, ("evaluate g", "rejected", "NO_REFERENCE", 1))
    assert [(step.title, step.n) for step in flow.branches] == [("each of 5 experiments", 9), ("c", 7), ("g", 9)]
    few = flow_of(("found", "ok", "", 9), *lines[:6])
    assert [step.title for step in few.branches] == list("abcdef")


def test_the_share_is_zero_when_nothing_was_found():
    assert flow_of(("found", "ok", "", 0)).steps[0].share == 0


def test_an_empty_table_gives_an_empty_flow():
    assert flow_diagram(pd.DataFrame()) == Flow()
    assert Flow().n_found == Flow().n_rejected == 0


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 50), min_size=1, max_size=6), st.integers(0, 200))
def test_found_is_the_sum_of_those_who_arrive_and_those_who_leave(losses, n_end):
    lines = [("found", "ok", "", n_end + sum(losses))]
    lines += [(f"stage{k}", "rejected", f"R{k}", n) for k, n in enumerate(losses)]
    flow = flow_of(*lines)
    assert flow.n_found == n_end + flow.n_rejected
    assert flow.steps[-1].n == n_end


def test_scans_of_another_kind_are_not_rejected():
    flow = flow_of(
        ("found", "ok", "", 9), ("index", "rejected", "NOT_SELECTED", 6), ("index", "rejected", "TRUNCATED", 1)
    )
    assert (flow.n_rejected, flow.n_not_selected) == (1, 6)
    assert [group.status for group in flow.steps[1].leaving] == ["not selected", "rejected"]
