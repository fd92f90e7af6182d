"""The tables of a study whose results are planted: effect, gap, rank and counts come back; nothing odd gets through."""

import argparse
import csv
import io
import json
import math
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_by_hand import case_of, sidecar_of, study_of, write_json, write_sidecar, write_text, write_token

from cohortseg.cohort import Case
from cohortseg.errors import SettingsError
from cohortseg.layout import Layout
from cohortseg.metrics.columns import COLUMNS
from cohortseg.metrics.dictionary import TABLES
from cohortseg.metrics.probabilities import histogram
from cohortseg.metrics.tables_of_images import is_of_images
from cohortseg.names import Identities
from cohortseg.settings import MetricSettings, ReportSettings, StatisticsSettings
from cohortseg.stages import AggregateStage
from cohortseg.steps import aggregate
from cohortseg.steps.clinical import keep_clinical

EXPERIMENTS = {"best": 0.06, "middle": 0.03, "plain": 0.0}
"""Experiment: what it adds to the Dice of every case."""
GAP = 0.10
"""What the cases of one manufacturer score below the others."""
N_CASES = 40


def settings(**options) -> AggregateStage:
    return AggregateStage(
        study="planted",
        classes=["tumour"],
        experiment_names=sorted(EXPERIMENTS),
        metrics=MetricSettings(),
        statistics=options.pop("statistics", StatisticsSettings(bootstrap=300, permutations=500)),
        report=ReportSettings(subgroups=["manufacturer", "lesion_volume", "location_side"], **options),
    )


def record(dice: float, volume_ml: float, left: float, *, empty: bool = False) -> dict:
    """What `evaluate` leaves behind for one case."""
    row = dict.fromkeys(COLUMNS, 0.5) | {"dice": dice, "undefined": ""}
    row |= {"reference_ml": volume_ml, "prediction_ml": volume_ml + 2.0, "volume_difference_ml": 2.0}
    row |= {"n_lesions_reference": 1, "n_lesions_prediction": 2}
    if empty:
        row |= dict.fromkeys(("hd_mm", "hd95_mm", "assd_mm", "nsd", "precision")) | {"undefined": "prediction_empty"}
    place = {"z": 1.0, "y": 2.0, "x": 3.0}
    hit = {"volume_ml": volume_ml, "shared_ml": 0.9 * volume_ml, "n_matched": 1, "largest_match_ml": volume_ml, **place}
    false = {"volume_ml": 0.1, "shared_ml": 0.0, "n_matched": 0, "largest_match_ml": 0.0, **place, "dice": None}
    lesions = [
        {"side": "reference", "dice": dice, **hit},
        {"side": "prediction", **hit, "dice": None},
        {"side": "prediction", **false},
    ]
    by_label = {"metrics": row, "lesions": lesions, "trimap": [[1.0, 0.5], [4.0, dice]]}
    found = {part: {stage: {"tumour": value} for stage in ("raw", "post")} for part, value in by_label.items()}
    location = {"tumour": {"left": left, "back": 0.5, "head": 0.5}}
    voxels = {"shared": [80, 10], "reference": [86, 14], "prediction": [84, 16]}
    found["voxels"] = dict.fromkeys(("raw", "post"), voxels)
    return {**found, "instances": {"raw": None, "post": None}, "location": location}


def planted(root: Path, *, names: tuple[str, str] = ("Norse", "South"), bonus: float = 0.0) -> Layout:
    """A study in which half of the cases come from a manufacturer that scores `GAP` lower.

    The best experiment scores `bonus` more on these cases alone.
    """
    rng = np.random.default_rng(50)
    base, noise = rng.normal(0.7, 0.02, N_CASES), rng.normal(0, 0.005, (len(EXPERIMENTS), N_CASES))
    cases: list[Case] = [
        case_of(f"sub-{i:04d}_ct1", manufacturer=names[i % 2], slice_thickness_mm="5.0", fold=str(i // 2 % 2))
        for i in range(N_CASES)
    ]
    layout = study_of(root, *cases)
    for fold in ("0", "1"):
        write_json(layout.members(fold), {"validation": [case.case for case in cases if case.fold == fold]})
    write_text(layout.series_table, "case\tstatus\n")
    write_text(layout.settings, "study: planted\n")
    tally = histogram(np.linspace(0, 1, 200), np.linspace(0, 1, 200) > 0.5)
    raw = {
        "probabilities": [tally.counts.tolist()],
        "probability_sums": [[tally.sums.tolist()], [tally.squares.tolist()]],
    }
    for number, (experiment, gain) in enumerate(EXPERIMENTS.items()):
        units = []
        for i, case in enumerate(cases):
            folder = layout.prediction(experiment, f"fold-{case.fold}-seed-1", case.case)
            dice = float(base[i] + gain - (GAP - bonus * (experiment == "best")) * (i % 2) + noise[number, i])
            found = record(dice, 10.0 + i, left=0.3 + 0.4 * (i % 2), empty=experiment == "plain" and i < 2)
            write_sidecar(folder / "metrics.json", sidecar_of("evaluate", **found))
            write_sidecar(folder / "raw.json", sidecar_of("predict", **raw))
            units.append(f"fold-{case.fold}-seed-1/{case.case}")
        write_token(layout, "evaluate", "f0-b0001", units, experiment)
    for case in cases:
        write_sidecar(layout.case(case.case) / "image.json", sidecar_of("convert", facts={}, contents={"label": "x"}))
    return layout


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Layout:
    layout = planted(tmp_path_factory.mktemp("planted"))
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    return layout


def table(layout: Layout, name: str) -> pd.DataFrame:
    return pd.read_csv(layout.table(name), keep_default_na=True)


def test_the_planted_effect_comes_back(study: Layout) -> None:
    found = table(study, "comparison")
    found = found[found["metric"] == "dice"].set_index(["experiment_a", "experiment_b"])
    for (first, second), line in found.iterrows():
        assert line["ci_low"] < EXPERIMENTS[first] - EXPERIMENTS[second] < line["ci_high"]
        assert line["better"] == max(first, second, key=EXPERIMENTS.get)
        assert line["effect_size"] == 1.0
        assert max(line[["p_value", "p_holm", "p_bh", "p_permutation"]]) < 0.01
    assert len(found) == 3


def test_the_planted_rank_comes_back_and_is_stable(study: Layout) -> None:
    found = table(study, "ranks")
    found = found[found["metric"] == "dice"].set_index("experiment")
    assert found["rank"].to_dict() == {"best": 1, "middle": 2, "plain": 3}
    assert (found["tau"] == 1.0).all()
    assert found.loc["best", "share_first"] == 1.0


def test_the_planted_gap_comes_back_and_no_other(study: Layout) -> None:
    found = table(study, "gaps").set_index(["experiment", "property"])
    for experiment in EXPERIMENTS:
        line = found.loc[(experiment, "manufacturer")]
        assert (line["best"], line["worst"]) == ("Norse", "South")
        assert line["gap"] == pytest.approx(GAP, abs=0.015)
        assert line["ci_low"] < GAP < line["ci_high"]
        assert line["p_groups_holm"] < 0.001
        assert found.loc[(experiment, "lesion_volume"), "p_groups_holm"] > 0.05
    # nothing was planted between experiments and groups
    assert (table(study, "interactions")["p_interaction_holm"] > 0.01).all()


def test_a_planted_interaction_comes_back_with_the_pairs_that_have_it(tmp_path: Path) -> None:
    layout = planted(tmp_path, bonus=0.03)
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    found = table(layout, "interactions").set_index(["experiment_a", "experiment_b", "property"])
    for other in ("middle", "plain"):
        line = found.loc[("best", other, "manufacturer")]
        assert (line["lowest_group"], line["highest_group"]) == ("Norse", "South")
        assert line["ci_low"] < 0.03 < line["ci_high"]
        assert line["p_interaction_holm"] < 0.01
    assert found.loc[("middle", "plain", "manufacturer"), "p_interaction_holm"] > 0.01


def test_groups_hold_the_planted_means_by_split(study: Layout) -> None:
    found = table(study, "subgroups")
    found = found[found["property"] == "manufacturer"].set_index(["experiment", "value"])
    assert found.loc[("best", "Norse"), "mean"] == pytest.approx(0.76, abs=0.02)
    assert found.loc[("plain", "South"), "mean"] == pytest.approx(0.60, abs=0.02)
    assert (found["split"] == "val").all()
    assert set(table(study, "subgroups")["value"]) >= {"left", "right", "below 20 ml", "20 to 150 ml"}


def test_voxels_of_all_cases_are_added_up_before_the_shares_of_all_classes(study: Layout) -> None:
    classes = table(study, "classes").set_index(["experiment", "stage", "split"])
    one = classes.loc[("best", "post", "val")]
    assert one["n_cases"] == N_CASES
    assert one["voxel_accuracy"] == pytest.approx(0.9)
    assert one["mean_jaccard"] == pytest.approx((80 / 90 + 10 / 20) / 2)


def test_failures_are_counted_and_rank_worst(study: Layout) -> None:
    summary = table(study, "summary")
    line = summary[(summary["metric"] == "hd95_mm") & (summary["stage"] == "post")].set_index("experiment")
    assert line.loc["plain", ["n_defined", "n_undefined"]].tolist() == [N_CASES - 2, 2]
    ranks = table(study, "ranks")
    ranks = ranks[ranks["metric"] == "hd95_mm"].set_index("experiment")
    assert ranks["n_incomplete"].tolist() == [0, 0, 0]
    assert ranks.loc["plain", "rank"] == 3


def test_agreement_froc_calibration_and_curves_follow_what_was_planted(study: Layout) -> None:
    assert table(study, "agreement")["bias_ml"].tolist() == pytest.approx([2.0] * 6)
    froc = table(study, "froc")
    post = froc[(froc["stage"] == "post") & (froc["experiment"] == "best")]
    assert post.iloc[0][["false_per_case", "sensitivity"]].tolist() == [0.0, 0.0]
    assert post.iloc[-1][["threshold", "false_per_case", "sensitivity"]].tolist() == [0.1, 1.0, 1.0]
    assert post.iloc[-2][["false_per_case", "sensitivity"]].tolist() == [0.0, 1.0]
    assert set(froc["score"]) == {"volume_ml"}  # no probabilities were stored
    assert table(study, "detection").empty  # every case has a lesion
    calibration = table(study, "calibration")
    assert (calibration.groupby("experiment")["n_voxels"].sum() == 200 * N_CASES).all()
    curves = table(study, "curves")
    assert set(curves["curve"]) == {"roc", "precision_recall", "trimap"}  # every case has a lesion: no ROC of cases
    trimap = curves[(curves["curve"] == "trimap") & (curves["stage"] == "post") & (curves["experiment"] == "best")]
    assert trimap["x"].tolist() == [1.0, 4.0]
    assert len(table(study, "lesions")) == 3 * 2 * N_CASES * 3


def test_with_stored_probabilities_lesions_are_kept_by_them_and_cases_told_apart(tmp_path: Path) -> None:
    layout = planted(tmp_path)
    for i, path in enumerate(sorted(layout.root.glob("experiments/best/*/cases/*/metrics.json"))):
        found = json.loads(path.read_text())
        for stage in ("raw", "post"):
            hit, *predicted = found["lesions"][stage]["tumour"]
            hit["match_max_probability"] = predicted[0]["max_probability"] = 0.9
            predicted[1]["max_probability"] = 0.6
            if i % 2:  # a healthy case, in which only the false lesion is found
                found["lesions"][stage]["tumour"] = [predicted[1]]
                found["metrics"][stage]["tumour"] |= {"reference_ml": 0.0, "n_lesions_reference": 0}
        write_json(path, found)
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    froc = table(layout, "froc")
    curve = froc[(froc["experiment"] == "best") & (froc["stage"] == "post") & (froc["score"] == "max_probability")]
    assert curve["threshold"].tolist() == [math.inf, 0.9, 0.6]
    assert curve["false_per_case"].tolist() == [0.0, 0.0, 1.0]
    assert curve["sensitivity"].tolist() == [0.0, 1.0, 1.0]
    detection = table(layout, "detection").set_index(["experiment", "stage", "score"])
    line = detection.loc[("best", "post", "max_probability")]
    assert (line["roc_auc"], line["n_positive"], line["n_cases"]) == (1.0, N_CASES // 2, N_CASES)


def test_every_column_of_every_table_stands_in_the_dictionary(study: Layout) -> None:
    listed = table(study, "data_dictionary")
    written = {path.stem for path in (study.root / "tables").glob("*.csv")}
    of_labels = {name for name in TABLES if not is_of_images(name)}
    assert set(listed["table"]) == of_labels == written | {"quality"}  # which the report writes
    for name in sorted(written):
        header = study.table(name).read_text().partition("\n")[0].split(",")
        assert sorted(header) == sorted(listed.loc[listed["table"] == name, "column"]), name
    assert listed["definition"].notna().all()
    dice = listed[(listed["table"] == "metrics_by_case") & (listed["column"] == "dice")].iloc[0]
    assert (dice["direction"], dice["lowest"], dice["highest"]) == ("higher", 0.0, 1.0)


def test_numbers_come_back_to_the_last_digit(study: Layout) -> None:
    with study.table("metrics_by_case").open(newline="") as file:
        read = {(row["experiment"], row["case"], row["stage"]): row["dice"] for row in csv.DictReader(file)}
    for path in study.root.glob("experiments/*/*/cases/*/metrics.json"):
        experiment, case = path.parts[-5], path.parent.name
        written = json.loads(path.read_text())["metrics"]["post"]["tumour"]["dice"]
        assert float(read[experiment, case, "post"]) == written


def test_the_crate_names_every_table_and_no_private_file(study: Layout) -> None:
    graph = {entry["@id"]: entry for entry in json.loads(study.crate.read_text())["@graph"]}
    assert {name for name in graph if name.startswith("tables/")} == {
        f"tables/{name}.csv" for name in TABLES if name != "quality" and not is_of_images(name)
    }
    parts = [part["@id"] for part in graph["./"]["hasPart"]]
    assert all((study.root / part).is_file() for part in parts)
    assert not [part for part in parts if part.startswith(("private", "cases/", "/"))]
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    assert len(graph["tables/summary.csv"]["sha256"]) == 64


def test_tables_made_twice_are_the_same_bytes(study: Layout) -> None:
    names = ["summary", "comparison", "ranks", "gaps", "agreement"]
    before = [study.table(name).read_bytes() for name in names]
    crate = study.crate.read_bytes()
    aggregate.run(argparse.Namespace(study=study, settings=settings().model_dump_json()))
    assert [study.table(name).read_bytes() for name in names] == before
    assert study.crate.read_bytes() == crate


ODD = ('=HYPERLINK("http://x")', "@SUM(1+1)")


def test_formulas_in_texts_are_made_harmless_and_negative_numbers_stay_numbers(tmp_path: Path) -> None:
    layout = planted(tmp_path, names=ODD)
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    cells = {}
    for path in (layout.root / "tables").glob("*.csv"):
        for row in csv.reader(io.StringIO(path.read_text())):
            for cell in row:
                cells[cell] = path.name
    for cell, name in cells.items():
        if cell[:1] in ("=", "+", "-", "@"):
            assert math.isfinite(float(cell)), name
    assert {f"'{text}" for text in ODD} <= set(cells)


def crated_parquet(layout: Layout) -> set[str]:
    graph = json.loads(layout.crate.read_text())["@graph"]
    return {entry["@id"] for entry in graph if entry.get("encodingFormat") == "application/vnd.apache.parquet"}


def test_on_request_every_table_is_parquet_too_with_every_bit_of_its_numbers(tmp_path: Path) -> None:
    layout = planted(tmp_path, names=ODD)
    wanted = settings(parquet=True)
    aggregate.run(argparse.Namespace(study=layout, settings=wanted.model_dump_json()))
    made = aggregate.tables(layout, wanted)
    for name, frame in made.items():
        found = pd.read_parquet(layout.table(name).with_suffix(".parquet"))
        assert list(found.columns) == list(frame.columns), name
        for column in frame.columns:
            if frame[column].dtype.kind in "fi":
                np.testing.assert_array_equal(found[column].to_numpy(), frame[column].to_numpy(), err_msg=name)
            else:
                texts = [None if pd.isna(cell) else str(cell) for cell in frame[column]]
                assert [None if pd.isna(cell) else str(cell) for cell in found[column]] == texts, (name, column)
    assert crated_parquet(layout) == {f"tables/{name}.parquet" for name in made}
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    assert not list((layout.root / "tables").glob("*.parquet"))
    assert not crated_parquet(layout)


def test_without_pyarrow_parquet_is_refused_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(SettingsError, match=r"pip install 'cohortseg\[parquet\]'"):
        aggregate.run(argparse.Namespace(study=Layout(tmp_path), settings=settings(parquet=True).model_dump_json()))


def test_a_study_in_which_nothing_was_scored_has_empty_tables_with_their_columns(tmp_path: Path) -> None:
    layout = planted(tmp_path)
    for path in layout.root.glob("experiments/*/*/cases/*/metrics.json"):
        write_sidecar(path, sidecar_of("evaluate", status="rejected", reason="NO_REFERENCE"))
    aggregate.run(argparse.Namespace(study=layout, settings=settings().model_dump_json()))
    for name in ("summary", "comparison", "ranks", "gaps", "froc", "curves", "lesions", "metrics_by_case"):
        header = layout.table(name).read_text().strip().split(",")
        assert sorted(header) == sorted(TABLES[name].columns), name


# ---- clinical data --------------------------------------------------------------------------------------------------


def clinical(layout: Layout, path: Path, text: str, wanted: list[str]) -> None:
    path.write_text(text)
    subjects = {f"MRN-{i}": f"sub-{i:04d}" for i in range(N_CASES)}
    keep_clinical(path, wanted, Identities(subjects=subjects, cases={}), layout)


def test_columns_of_a_clinical_table_make_groups_under_pseudonyms(tmp_path: Path) -> None:
    layout = planted(tmp_path)
    lines = [f"MRN-{i};{'early' if i % 4 < 2 else 'late'};{50 + i};Doe" for i in range(N_CASES - 1)]
    text = "\n".join(["subject;tumour stage;age;name", *lines, "MRN-of-somebody-else;early;1;Roe"])
    clinical(layout, tmp_path / "clinic.csv", text, ["tumour stage", "age"])
    kept = layout.clinical.read_text()
    assert "MRN" not in kept
    assert "Doe" not in kept
    options = settings(statistics=StatisticsSettings(bootstrap=200, permutations=200, covariates=["age"]))
    report = options.report.model_copy(update={"subgroups": ["tumour stage"]})
    aggregate.run(
        argparse.Namespace(study=layout, settings=options.model_copy(update={"report": report}).model_dump_json())
    )
    groups = table(layout, "subgroups").groupby("value")["n_cases"].first()
    assert groups.to_dict() == {"early": 20, "late": 19, "unknown": 1}
    covariates = table(layout, "covariates")
    assert set(covariates["covariate"]) == {"age"}
    assert set(covariates["n_left_out"]) >= {1}


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("person,age\nMRN-1,5\n", "no column `subject` or `case`"),
        ("subject,weight\nMRN-1,5\n", "no column 'age'; choices: subject, weight"),
        ("subject,age\nMRN-1,5\nMRN-2,6\nMRN-1,7\n", "line 4 names a subject for the second time"),
        ("", "no rows"),
    ],
)
def test_a_clinical_table_that_cannot_be_joined_is_refused_without_telling_an_id(
    tmp_path: Path, text: str, named: str
) -> None:
    with pytest.raises(SettingsError, match=named) as refused:
        clinical(Layout(tmp_path), tmp_path / "clinic.csv", text, ["age"])
    assert "MRN" not in str(refused.value)


def test_without_a_clinical_table_the_copy_goes(tmp_path: Path) -> None:
    layout = Layout(tmp_path)
    clinical(layout, tmp_path / "clinic.csv", "subject,age\nMRN-1,5\n", ["age"])
    assert layout.clinical.exists()
    keep_clinical(None, [], Identities(subjects={}, cases={}), layout)
    assert not layout.clinical.exists()


def test_a_property_that_no_case_has_is_refused_by_name(tmp_path: Path) -> None:
    layout = planted(tmp_path)
    options = settings()
    report = options.report.model_copy(update={"subgroups": ["shoe size"]})
    with pytest.raises(SettingsError, match="shoe size"):
        aggregate.run(
            argparse.Namespace(study=layout, settings=options.model_copy(update={"report": report}).model_dump_json())
        )
