"""The section on heterogeneity: what varies, what is the same, who differs, what was mended; and all of it escaped."""

import pandas as pd
import pytest
from report_content import EVIL, full_content

from cohortseg.metrics.heterogeneity import CATEGORICAL, NUMERIC, SUMMARY_COLUMNS, measure, summarise_properties
from cohortseg.report.heterogeneity import (
    MOST_OUTLIERS,
    MOST_REPAIRS,
    SUMMARY,
    TITLES,
    alike_sentence,
    outlier_table,
    property_tables,
    repair_table,
)
from cohortseg.report.page import render


def series(n=20, **columns) -> pd.DataFrame:
    same = {"modality": "CT", "channel": "", "manufacturer": "ACME", "slice_thickness_mm": "3", "lossy": "no"}
    same |= {"spacing_mm": "3x0.8x0.8", "kvp": "120"}
    return pd.DataFrame({"case": [f"c{k:02d}" for k in range(n)], "subject": "s"} | same | columns)


def content_of(*tables, repairs=None):
    scans = measure(pd.concat(tables)) if tables else None
    summary = None if scans is None else summarise_properties(scans)
    return full_content(heterogeneity=scans, heterogeneity_summary=summary, repairs=repairs)


def texts(table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows]


MIXED = series(
    kvp=["120"] * 18 + ["", "70"], spacing_mm=["3x0.8x0.8"] * 19 + ["12x0.8x0.9"], lossy=["no"] * 19 + ["yes"]
)


def test_the_columns_are_those_of_the_tables():
    assert SUMMARY == SUMMARY_COLUMNS
    assert set(TITLES) == {*NUMERIC, *CATEGORICAL}, "every property has a title and a unit"


def test_properties_that_vary_are_told_with_their_range():
    (table,) = property_tables(content_of(MIXED))
    assert table.caption == "Properties that vary between the 20 series of CT"
    rows = {row[0]: row[1:] for row in texts(table)}
    assert rows["Tube voltage"] == ["19 of 20", "2", "120", "70", "120", "120", "1"]
    assert rows["Slice distance"] == ["20 of 20", "2", "3", "3", "3", "12", "1"]
    assert rows["Lossy compression"] == ["20 of 20", "2", "no", "–", "–", "–", "1"]
    assert "Manufacturer" not in rows
    (voltage,) = [row for row in table.rows if row[0].text == "Tube voltage"]
    assert (voltage[0].note, voltage[3].note) == ("kV", "95 %")


def test_what_is_the_same_in_all_is_one_sentence():
    sentence = alike_sentence(content_of(MIXED))
    assert sentence == "The same in all series of CT: manufacturer (ACME), slice thickness (3 mm)."
    unknown = alike_sentence(content_of(series(3, kvp=["120", "", ""])))
    assert "tube voltage (120 kV, unknown in 2)" in unknown


def test_series_that_differ_stand_beside_the_usual_values():
    table = outlier_table(content_of(MIXED))
    ((case, group, n, told),) = texts(table)
    assert (case, group, n) == ("c19", "CT", "4")
    assert told == (
        "slice distance 12 mm (usual: 3); pixel size 0.9 mm (usual: 0.8); tube voltage 70 kV (usual: 120); "
        "lossy compression yes (usual: no)"
    )


def test_channels_of_one_modality_are_told_apart():
    content = content_of(
        series(12, modality="MR", channel="t1", tr_ms=["500"] * 11 + ["900"]),
        series(12, modality="MR", channel="t2", tr_ms="4000"),
        series(12, modality="PT", channel="pet"),
    )
    (table,) = property_tables(content)
    assert table.caption.endswith("12 series of MR (t1)")
    assert texts(outlier_table(content)) == [["c11", "MR (t1)", "1", "repetition time 900 ms (usual: 500)"]]
    assert "series of PT:" in alike_sentence(content)
    assert "series of MR (t2):" in alike_sentence(content)


def test_the_series_that_differ_most_come_first_and_the_rest_is_counted():
    n = MOST_OUTLIERS + 5
    flags = ["no"] * 30 + ["yes"] * n
    table = outlier_table(content_of(series(30 + n, lossy=flags, burned_in=["no"] * (29 + n) + ["yes"])))
    assert len(table.rows) == MOST_OUTLIERS
    assert texts(table)[0][0] == f"c{29 + n}"
    assert table.note == "5 more series in tables/heterogeneity.csv."


def test_where_nothing_differs_nothing_is_shown():
    content = content_of(series())
    assert property_tables(content) == []
    assert outlier_table(content) is None
    for nothing in (content_of(), full_content(heterogeneity=pd.DataFrame(), heterogeneity_summary=pd.DataFrame())):
        assert (property_tables(nothing), alike_sentence(nothing), outlier_table(nothing)) == ([], "", None)
        assert repair_table(nothing) is None


# ---- repairs


def repairs(*rows) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["case", "what", "count"])


def test_repairs_are_counted_by_kind_the_most_frequent_first():
    rows = [[f"c{k}", "missing slices interpolated", k] for k in range(1, 6)]
    rows += [
        ["c1", "warning: covers 30% of the first channel", 1],
        ["c2", "warning: covers 45.5% of the first channel", 2],
    ]
    table = repair_table(content_of(repairs=repairs(*rows)))
    assert texts(table) == [
        ["missing slices interpolated", "5", "15", "c1, c2, c3 and 2 more"],
        ["warning: covers …% of the first channel", "2", "3", "c1, c2"],
    ]


def test_a_warning_of_one_kind_of_number_keeps_it():
    table = repair_table(content_of(repairs=repairs(["c1", "warning: uneven by 0.1 mm", 1])))
    assert texts(table) == [["warning: uneven by 0.1 mm", "1", "1", "c1"]]


def test_many_kinds_of_repairs_are_cut_and_counted():
    words = [f"{chr(97 + k // 26)}{chr(97 + k % 26)}" for k in range(MOST_REPAIRS + 3)]
    table = repair_table(content_of(repairs=repairs(*[["c1", word, 1] for word in words])))
    assert len(table.rows) == MOST_REPAIRS
    assert table.note == "3 more kinds in tables/repairs.csv."


# ---- the page


def test_the_page_shows_the_section_and_its_entry():
    html = render(content_of(MIXED, repairs=repairs(["c01", "missing slices interpolated", 2])))
    for text in ("Properties that vary", "The same in all series of CT", "missing slices interpolated", "(usual: 3)"):
        assert text in html
    assert 'href="#heterogeneity"' in html


def test_the_page_is_calm_where_nothing_is_known():
    html = render(content_of())
    assert "Properties that vary" not in html
    assert "The same in all" not in html


@pytest.mark.parametrize("column", ["manufacturer", "kernel", "model", "modality", "channel", "case", "spacing_mm"])
def test_a_hostile_header_is_text(column):
    hostile = series(21, lossy=["no"] * 20 + ["yes"], **{column: [EVIL] * 21})
    html = render(content_of(hostile, repairs=repairs([EVIL, EVIL, 1])))
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html


def test_tables_read_from_csv_give_the_same_page(tmp_path):
    content = content_of(MIXED, series(3, modality="MR", kvp="", manufacturer=""))
    content.heterogeneity.to_csv(tmp_path / "a.csv", index=False)
    content.heterogeneity_summary.to_csv(tmp_path / "b.csv", index=False)
    again = full_content(
        heterogeneity=pd.read_csv(tmp_path / "a.csv", dtype=str, keep_default_na=False),
        heterogeneity_summary=pd.read_csv(tmp_path / "b.csv"),
    )
    assert render(again) == render(content)
