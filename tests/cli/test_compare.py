"""Two studies are compared on the scans whose voxels they share, whatever the cases are called."""

import argparse

import numpy as np
import pandas as pd
import pytest
import yaml
from study_by_hand import case_of, refused, sidecar_of, study_of, write_sidecar

from cohortseg.cli import compare
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import write_text

METRICS = ("dice", "nsd", "hd95_mm", "assd_mm")


def study(root, scans, dice_of, settings=None, experiments=("unet",), label="l"):
    """`scans` maps the digest of an image to the name of its case."""
    layout = study_of(root, *(case_of(name) for name in scans.values()))
    rows = []
    for digest, name in scans.items():
        record = sidecar_of("convert", contents={"image": digest, "label": f"{label}{digest}"})
        write_sidecar(layout.case(name) / "image.json", record)
        for experiment in experiments:
            head = {"study": root.name, "experiment": experiment, "case": name, "subject": name.partition("_")[0]}
            head |= {"label": "tumour", "stage": "post", "split": "val", "undefined": ""}
            rows.append(head | dict.fromkeys(METRICS, dice_of(digest)))
    write_text(layout.table("metrics_by_case"), pd.DataFrame(rows).to_csv(index=False))
    write_text(layout.settings, yaml.safe_dump({"study": root.name, "cohort": {}, **(settings or {})}))
    return layout


def level(digest):
    return int(digest[1:]) / 100


@pytest.fixture
def a(tmp_path):
    scans = {f"i{n}": f"p{n:02d}_ct1" for n in range(10, 22)}
    return study(tmp_path / "a", scans, level, {"plan": {"dims": 2}}, ("unet", "otsu"))


@pytest.fixture
def b(tmp_path):
    """Ten of the scans of A, in another order under other names, a tenth better; and two of its own."""
    scans = {f"i{n}": f"p{40 - n:02d}_ct1" for n in range(12, 24)}
    return study(tmp_path / "b", scans, lambda digest: level(digest) + 0.1, {"plan": {"dims": 3}}, ("unet", "yen"))


def test_a_planted_difference_is_found_on_the_shared_scans(a, b, capsys, tmp_path):
    table = tmp_path / "compared.csv"
    compare.run(argparse.Namespace(study_a=a.root, study_b=b.root, csv=table))
    told = capsys.readouterr().out
    assert "plan.dims: 2 → 3" in told
    assert "scans: 10 in both, 2 in A alone, 2 in B alone" in told
    assert "experiments in both: unet\n" in told
    found = pd.read_csv(table).set_index("metric")
    assert list(found.index) == list(METRICS)
    assert found.loc["dice", "n_pairs"] == 10
    assert found.loc["dice", "median_difference"] == pytest.approx(-0.1)
    assert found.loc["dice", "median_b"] - found.loc["dice", "median_a"] == pytest.approx(0.1)
    assert found.loc["dice", "p"] == pytest.approx(2 / 2**10)


def test_equal_studies_do_not_differ(a, capsys):
    compare.run(argparse.Namespace(study_a=a.root, study_b=a.root, csv=None))
    told = capsys.readouterr().out
    assert "  the same\n" in told
    assert told.count("         0") >= 8


def test_another_reference_of_the_same_image_is_no_shared_scan(a, tmp_path):
    other = study(tmp_path / "c", {"i10": "p10_ct1"}, level, label="m")
    with pytest.raises(StudyError, match="scans: 0 in both"):
        compare.run(argparse.Namespace(study_a=a.root, study_b=other.root, csv=None))


def test_refused_scans_and_studies_without_tables_are_no_puzzle(a, tmp_path):
    write_sidecar(a.case("p10_ct1") / "image.json", refused("convert", "TRUNCATED"))
    rows, counts = compare.shared_rows(a, a)
    assert counts[0].startswith("scans: 11 in both")
    assert rows["case"].nunique() == 11
    empty = study_of(tmp_path / "d", case_of("p1_ct1"))
    write_sidecar(empty.case("p1_ct1") / "image.json", sidecar_of("convert", contents={"image": "i", "label": "l"}))
    with pytest.raises(StudyError, match="no tables in"):
        compare.shared_rows(a, empty)


def test_undefined_medians_are_written_as_such(a):
    rows, _ = compare.shared_rows(a, a)
    lines = compare.table_lines(compare.compared(rows.assign(dice=np.nan)))
    assert any("nan" in line and "too few pairs" in line for line in lines)
