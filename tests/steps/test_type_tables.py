"""Types told of segmented cases: phantoms whose answer is known, no case teaches its own fold, models are arrays."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from study_by_hand import GRID, case_of, image_of, sidecar_of, study_of, write_case, write_prediction, write_sidecar
from study_by_hand import write_text as text_to

from cohortseg.errors import SettingsError
from cohortseg.io import store
from cohortseg.io.arrays import read_arrays
from cohortseg.layout import Layout
from cohortseg.metrics.region_features import FEATURES
from cohortseg.settings import MetricSettings, RegionSettings, StatisticsSettings, TypesSettings
from cohortseg.stages import EvaluateStage
from cohortseg.steps.curves import Scored
from cohortseg.steps.evaluate import evaluate
from cohortseg.steps.report import last_study
from cohortseg.steps.type_tables import type_results
from cohortseg.volume import Volume

STATISTICS = StatisticsSettings(bootstrap=200)
ASKED = TypesSettings(column="histology")
N = 24


def features(rng, centre: float) -> dict[str, float]:
    """Features of which those of brightness tell the type."""
    bright = ("mean", "median", "p10", "p90")
    return {name: float(rng.normal(centre if name in bright else 0.0, 1.0)) for name in FEATURES}


def planted(root: Path, *, gap: float = 12.0) -> tuple[Layout, list[Scored]]:
    """Two types, told by the brightness of the region; the last four cases are the test set."""
    rng, scored, lines = np.random.default_rng(9), [], ["subject\thistology"]
    cases = []
    for k in range(N):
        is_test = k >= N - 4
        fold, split, kind = (
            "test" if is_test else str(k % 2),
            "test" if is_test else "val",
            ("lipo", "leio")[k // 2 % 2],
        )
        name = f"sub-{k:02d}_ct1"
        cases.append(case_of(name, fold=fold))
        lines.append(f"sub-{k:02d}\t{kind}")
        seen = features(rng, gap * (kind == "leio"))
        region = {"reference": seen, "prediction": {**seen, "log_volume": seen["log_volume"] + 0.1}}
        head = {"study": "s", "experiment": "net", "fold": fold, "seed": "1", "split": split, "case": name}
        scored.append(Scored({**head, "subject": f"sub-{k:02d}"}, {"region": region}, {}))
    layout = study_of(root, *cases)
    text_to(layout.clinical, "\n".join(lines) + "\n")
    return layout, scored


def results(layout: Layout, scored: list[Scored]) -> dict[str, pd.DataFrame]:
    return type_results(layout, scored, ASKED, STATISTICS)


def test_planted_types_are_told_by_reference_and_prediction_in_folds_and_test_set(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path)
    tables = results(layout, scored)
    whole = tables["types"][tables["types"]["type"] == ""].set_index(["source", "split"])
    assert set(whole.index) == {("reference", "val"), ("reference", "test"), ("net", "val"), ("net", "test")}
    assert (whole[["type_accuracy", "balanced_accuracy", "type_roc_auc"]] == 1.0).all(axis=None)
    assert whole["n_cases"].tolist() == [4, 20, 4, 20]
    assert whole.loc[("net", "val"), "most_frequent"] == 0.5
    assert len(tables["region_features"]) == len(tables["types_by_case"]) == 2 * N


def test_types_that_no_feature_shows_are_told_by_chance(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path, gap=0.0)
    line = results(layout, scored)["types"].query("type == '' and source == 'net' and split == 'val'").iloc[0]
    assert line["balanced_accuracy_ci_low"] < 0.5 < line["balanced_accuracy_ci_high"]


def test_no_case_teaches_what_is_told_of_its_own_fold_and_the_test_set_teaches_nobody(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path / "a")
    before = results(layout, scored)["types_by_case"].set_index(["source", "case"])
    own = [one.head["case"] for one in scored if one.head["fold"] in ("0", "test")]
    lines = layout.clinical.read_text().splitlines()
    turned = [line.replace("lipo", "LEIO").replace("leio", "lipo").replace("LEIO", "leio") for line in lines]
    picked = [two if f"{two.partition(chr(9))[0]}_ct1" in own else one for one, two in zip(lines, turned, strict=True)]
    text_to(layout.clinical, "\n".join(picked) + "\n")
    after = results(layout, scored)["types_by_case"].set_index(["source", "case"])
    folds = before["fold"] == "0"
    assert folds.sum() == 2 * 10
    assert (before["told"][folds] == after["told"][folds]).all()  # though their own types are now others
    assert (before["type"][folds] != after["type"][folds]).all()
    assert (before["told"][before["fold"] == "1"] != after["told"][before["fold"] == "1"]).all()


def test_an_empty_region_is_told_wrongly_and_an_unknown_type_takes_no_part(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path)
    scored[0].metrics["region"]["prediction"] = None
    text_to(layout.clinical, layout.clinical.read_text().replace("sub-01\tlipo", "sub-01\t"))
    tables = results(layout, scored)
    line = tables["types"].query("type == '' and source == 'net' and split == 'val'").iloc[0]
    told = tables["types_by_case"].query("source == 'net' and split == 'val'").set_index("case")
    assert (line["n_cases"], line["n_empty"]) == (19, 1)
    assert line["type_accuracy"] == pytest.approx((told["told"] == told["type"]).sum() / 19)
    assert line["type_accuracy"] > 0.8
    assert (told.loc["sub-00_ct1", "told"], told.loc["sub-00_ct1", "score_of_type"]) == ("", 0.0)


def test_each_fold_keeps_its_classifier_as_arrays_and_older_ones_go(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path)
    (layout.types).mkdir(parents=True)
    (layout.types / "old.safetensors").write_text("")
    results(layout, scored)
    names = {f"{source}-fold-{fold}" for source in ("reference", "net-seed-1") for fold in ("0", "1", "test")}
    assert {path.stem for path in layout.types.iterdir()} == names
    assert read_arrays(layout.types / "net-seed-1-fold-0.safetensors")["vectors"].shape[1] == len(FEATURES)


def test_a_column_that_no_case_has_is_named(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path)
    with pytest.raises(SettingsError, match=r"types\.column: no case has a 'grade'"):
        type_results(layout, scored, TypesSettings(column="grade"), STATISTICS)
    tables = type_results(layout, scored, None, STATISTICS)
    assert all(table.empty for table in tables.values())


def test_regions_of_reference_and_cleaned_label_are_described_in_the_channel_that_is_asked_for(tmp_path: Path) -> None:
    layout = study_of(tmp_path, case_of("sub-1_ct1"))
    label = np.zeros(GRID.shape, np.uint8)
    label[1:3, 2:5, 1:4] = 1
    write_case(layout, "sub-1_ct1", label=Volume(label, GRID))
    other = image_of(seed=7)
    store.write_volume(layout.case("sub-1_ct1") / "image-pet.zarr", other)
    write_prediction(layout, "net", "fold-0-seed-1/sub-1_ct1", Volume(np.roll(label, 1, axis=2), GRID))
    folder = layout.prediction("net", "fold-0-seed-1", "sub-1_ct1")
    write_sidecar(folder / "post.json", sidecar_of("postprocess", n_voxels_changed=0))
    asked = EvaluateStage(
        classes=["tumour"], metrics=MetricSettings(), channels=["ct", "pet"], types=RegionSettings(channel="pet")
    )
    found = evaluate(layout, "net", "fold-0-seed-1/sub-1_ct1", asked)["region"]
    assert found["reference"]["mean"] == pytest.approx(other.array[label > 0].mean())
    assert found["prediction"]["mean"] == pytest.approx(other.array[np.roll(label, 1, axis=2) > 0].mean())


def test_the_report_reads_the_settings_of_a_study_with_a_clinical_table(tmp_path: Path) -> None:
    layout, _ = planted(tmp_path)
    text = (
        "study: s\ncohort: {labels: {structures: {tumour: GTV}}}\nexperiments: {o: {method: threshold, rule: otsu}}\n"
    )
    text_to(layout.settings, text + "types: {column: histology}\nreport: {subgroups: [histology]}\n")
    assert last_study(layout).types.column == "histology"


def test_cases_whose_other_folds_show_one_type_are_counted_as_untold_and_stay_in_the_table(tmp_path: Path) -> None:
    layout, scored = planted(tmp_path)
    of_fold_1 = {one.head["subject"] for one in scored if one.head["fold"] == "1"}
    lines = [line.split("\t") for line in layout.clinical.read_text().splitlines()]
    text_to(layout.clinical, "".join(f"{name}\t{'lipo' if name in of_fold_1 else kind}\n" for name, kind in lines))
    tables = results(layout, scored)
    line = tables["types"].query("type == '' and source == 'net' and split == 'val'").iloc[0]
    assert (line["n_cases"], line["n_untold"]) == (10, 10)  # fold 1 learns from fold 0, and not the other way round
    assert len(tables["types_by_case"]) == 2 * N
    assert tables["types_by_case"].query("fold == '0'")["model"].eq("").all()
