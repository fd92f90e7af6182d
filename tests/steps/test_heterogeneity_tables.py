"""The tables on the scans of a study: from series.tsv and the facts of the cases, and from headers to flags."""

import pandas as pd
import pytest
from study_by_hand import case_of, refused, sidecar_of, study_of, write_sidecar

from cohortseg.cohort import table_text
from cohortseg.io.sidecar import write_text
from cohortseg.layout import Layout
from cohortseg.metrics.heterogeneity import summarise_properties
from cohortseg.phantom.dicom import write_series
from cohortseg.settings import load_study
from cohortseg.steps.heterogeneity import repairs, scans_of_cases
from cohortseg.steps.index import SERIES_COLUMNS, index


def series_table(layout, *rows) -> None:
    columns = [*SERIES_COLUMNS, "status", "reason"]
    blank = dict.fromkeys(columns, "")
    write_text(layout.series_table, table_text([blank | {"status": "case"} | row for row in rows], columns))


def test_only_series_of_cases_are_told_in_the_order_of_the_cases(tmp_path):
    layout = study_of(tmp_path)
    series_table(
        layout,
        {"case": "b_ct1", "modality": "CT", "kvp": "080"},
        {"case": "a_ct1", "modality": "CT", "channel": "ct"},
        {"case": "a_ct1", "modality": "PT", "channel": "pet"},
        {"case": "c_ct1", "modality": "CT", "status": "rejected", "reason": "TOO_FEW_SLICES"},
        {"case": "a_ct1", "modality": "RTSTRUCT", "status": "label"},
        {"modality": "SR", "status": "not used", "reason": "NOT_AN_IMAGE"},
    )
    scans = scans_of_cases(layout)
    told = scans[["case", "modality", "channel"]].to_numpy().tolist()
    assert told == [["a_ct1", "CT", "ct"], ["a_ct1", "PT", "pet"], ["b_ct1", "CT", ""]]
    assert scans["kvp"].tolist() == ["", "", "080"], "a text stays what it is"


def test_words_that_look_like_nothing_are_words(tmp_path):
    layout = study_of(tmp_path)
    series_table(
        layout, {"case": "a", "modality": "CT", "kernel": "NA"}, {"case": "b", "modality": "CT", "kernel": "None"}
    )
    assert scans_of_cases(layout)["kernel"].tolist() == ["NA", "None"]


def test_a_study_without_any_case_has_empty_tables(tmp_path):
    layout = study_of(tmp_path)
    series_table(layout)
    assert len(scans_of_cases(layout)) == len(summarise_properties(scans_of_cases(layout))) == 0
    assert list(repairs(layout).columns) == ["case", "what", "count"]


# ---- from the headers


def indexed(tmp_path, **series) -> Layout:
    study = load_study(
        {
            "study": "small",
            "results": str(tmp_path / "results"),
            "cohort": {
                "source": str(tmp_path / "source"),
                "series": {"modality": "CT", **series},
                "labels": {"structures": {"tumour": "GTV.*"}},
            },
            "experiments": {"net": {"method": "unet"}},
        }
    )
    index(study)
    return Layout(study.folder)


def scan(tmp_path, patient, **options) -> None:
    import numpy as np

    hu = np.random.default_rng(1).integers(-1000, 2000, (6, 9, 8))
    folder = tmp_path / "source" / patient / options.get("series", "1")
    write_series(folder, hu, spacing_mm=(2.5, 0.8, 0.7), patient_id=patient, **options)


@pytest.fixture
def burned(tmp_path):
    scan(tmp_path, "P1")
    scan(tmp_path, "P2", extra={"BurnedInAnnotation": "YES"})
    scan(tmp_path, "P3", extra={"BurnedInAnnotation": "NO"})
    return tmp_path


def series_of(layout) -> pd.DataFrame:
    return pd.read_csv(layout.series_table, sep="\t", dtype=str, keep_default_na=False).set_index("case")


def test_burned_in_identity_is_refused_and_told(burned):
    layout = indexed(burned)
    table = series_of(layout)
    assert table["burned_in"].to_dict() == {"p1_ct1": "no", "p2_ct1": "yes", "p3_ct1": "no"}
    assert table.loc["p2_ct1", ["status", "reason"]].tolist() == ["rejected", "BURNED_IN"]
    assert scans_of_cases(layout)["case"].tolist() == ["p1_ct1", "p3_ct1"]


def test_burned_in_identity_that_is_kept_is_flagged(burned):
    scans = scans_of_cases(indexed(burned, burned_in="keep"))
    assert scans.set_index("case")["burned_in"].to_dict() == {"p1_ct1": "no", "p2_ct1": "yes", "p3_ct1": "no"}
    assert scans.set_index("case")["outlier"].to_dict() == {"p1_ct1": "", "p2_ct1": "burned_in", "p3_ct1": ""}
    summary = summarise_properties(scans).set_index("property")
    assert summary.loc["burned_in", ["most_common", "n_outliers"]].tolist() == ["no", 1]


def test_what_the_headers_say_of_a_scan_is_in_its_row(tmp_path):
    scan(tmp_path, "P1", extra={"BodyPartExamined": "THORAX", "ContrastBolusAgent": "Iomeprol"})
    row = scans_of_cases(indexed(tmp_path)).iloc[0]
    expected = {
        **{"manufacturer": "Northlight Imaging", "model": "Aurora 64", "kernel": "N30s", "body_part": "THORAX"},
        **{"spacing_mm": "2.5x0.8x0.7", "rows": "9", "columns": "8", "n_slices": "6", "n_files": "6", "kvp": "120"},
        **{"contrast": "yes", "lossy": "no", "orientation": "axial", "slice_thickness_mm": "2.5", "days": "0"},
        **{"transfer_syntax": "explicit little endian", "subject": "p1", "te_ms": "", "field_strength_t": ""},
    }
    assert {key: row[key] for key in expected} == expected


def test_dates_are_days_since_the_first_scan_of_the_subject(tmp_path):
    dates = {"1": "20230105", "2": "20230204"}
    for series, date in dates.items():
        extra = dict.fromkeys(("AcquisitionDate", "SeriesDate", "StudyDate"), date)
        scan(tmp_path, "P1", series=series, uid_seed=series, extra=extra)
    scan(tmp_path, "P2", extra=dict.fromkeys(("AcquisitionDate", "SeriesDate", "StudyDate"), "20100101"))
    layout = indexed(tmp_path)
    scans = scans_of_cases(layout)
    assert sorted(zip(scans["subject"], scans["days"], strict=True)) == [("p1", "0"), ("p1", "30"), ("p2", "0")]
    assert not any(date in layout.series_table.read_text() for date in ("2023", "2010"))


# ---- repairs


def converted(layout, name, **facts) -> None:
    write_sidecar(layout.case(name) / "image.json", sidecar_of("convert", facts={"modality": "CT", **facts}))


def test_everything_that_was_mended_or_borne_is_told_once_for_each_case(tmp_path):
    layout = study_of(tmp_path, *map(case_of, ("p1_ct1", "p2_ct1", "p3_ct1", "p4_ct1")))
    converted(
        layout,
        "p1_ct1",
        mended={"missing_slices": 2, "stray_slices": 0},
        warnings=["uneven by 0.1 mm", "no_pixel_spacing"],
    )
    converted(
        layout,
        "p2_ct1",
        missing_channels=["pet"],
        channels={
            "pet": {"warnings": ["covers 30% of the first channel"] * 2, "mended": {"repeated_slices": 3}},
            "mr": {"registration": {"a": 1}},
        },
        label={"resampled": True, "missing": ["liver"], "n_ignored": 4, "n_clipped": 0},
    )
    converted(
        layout, "p3_ct1", mended={}, warnings=[], label={"resampled": False, "n_overlap_voxels": 0, "missing": []}
    )
    write_sidecar(layout.case("p4_ct1") / "image.json", refused("convert", "MISSING_SLICE"))
    assert repairs(layout).to_numpy().tolist() == [
        ["p1_ct1", "missing slices interpolated", 2],
        ["p1_ct1", "warning: no pixel spacing", 1],
        ["p1_ct1", "warning: uneven by 0.1 mm", 1],
        ["p2_ct1", "channel filled with zeros: pet", 1],
        ["p2_ct1", "channel registered to the first one", 1],
        ["p2_ct1", "class without structure, taken for empty: liver", 1],
        ["p2_ct1", "contours left out: points, open, too short or repeated", 4],
        ["p2_ct1", "label resampled onto the image", 1],
        ["p2_ct1", "repeated slices left out", 3],
        ["p2_ct1", "warning: covers 30% of the first channel", 2],
    ]
