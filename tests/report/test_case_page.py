"""The page of one case: pictures, metrics and the way, quiet in a browser, and without the identity of the scan."""

import argparse

import pandas as pd
import pytest
import yaml
from browser import WIDTHS, chromium, opened
from report_content import EVIL, full_content, overlays, views
from study_by_hand import (
    case_of,
    label_of,
    sidecar_of,
    study_of,
    write_case,
    write_prediction,
    write_sidecar,
    write_token,
)

from cohortseg.cli import explain
from cohortseg.io.sidecar import write_json, write_text
from cohortseg.report.case_page import CasePage, render_case
from cohortseg.report.gallery import walls

UID = "1.2.3.4567.89"


@pytest.fixture
def layout(tmp_path):
    layout = study_of(tmp_path / "study", case_of("p1_ct1"))
    write_case(layout, "p1_ct1", label=label_of())
    write_prediction(layout, "otsu", "untrained/p1_ct1")
    for stage in ("predict", "postprocess", "evaluate"):
        write_token(layout, stage, "f0-b0001", ["untrained/p1_ct1"], "otsu")
    files = [{"path": "x.dcm", "header": {"series_uid": UID}}]
    channel = {"key": "k", "part": "", "modality": "CT", "files": files}
    source = {"kind": "dicom", "root": "/ward/Wunderlich", "channels": [channel], "label": None}
    write_json(layout.source("p1_ct1"), source)
    settings = {"study": "study", "cohort": {"labels": {"structures": {"lesion": "x"}}}}
    write_text(layout.settings, yaml.safe_dump({**settings, "experiments": {"otsu": {"method": "threshold"}}}))
    row = {
        "experiment": "otsu",
        "case": "p1_ct1",
        "label": "lesion",
        "stage": "post",
        "dice": 0.75,
        "reference_ml": 1.5,
    }
    write_text(layout.table("metrics_by_case"), pd.DataFrame([row, {**row, "case": "p2_ct1"}]).to_csv(index=False))
    return layout


def test_the_page_has_all_but_the_source(layout, tmp_path, capsys):
    path = tmp_path / "case.html"
    explain.run(argparse.Namespace(study=layout.root, case="p1_ct1", html=path))
    html = path.read_text()
    assert capsys.readouterr().out.strip() == str(path)
    assert "Dice 0.75" in html
    assert html.count('class="window ') == 3
    assert "evaluate (revision 1): ok" in html
    assert "p2_ct1" not in html
    assert UID not in html
    assert "Wunderlich" not in html


def test_the_screen_still_shows_the_source(layout, capsys):
    explain.run(argparse.Namespace(study=layout.root, case="p1_ct1", html=None))
    assert UID in capsys.readouterr().out


def test_a_rejected_case_has_a_page_too(layout, tmp_path):
    refused = sidecar_of("convert", status="rejected", reason="TRUNCATED", found="77 of 99 bytes")
    write_sidecar(layout.case("p1_ct1") / "image.json", refused)
    path = tmp_path / "case.html"
    explain.run(argparse.Namespace(study=layout.root, case="p1_ct1", html=path))
    assert "No experiment has predicted the case." in path.read_text()
    assert "TRUNCATED: 77 of 99 bytes" in path.read_text()


def page_of(name):
    rows = full_content().rows
    shown = [each for each in overlays() if each.case == "sts-002"]
    shown = [type(each)(**{**vars(each), "case": name}) for each in shown]
    quality = pd.DataFrame({"experiment": [name], "score": [2.0], "findings": [name]})
    return CasePage(name, name, name, name, views()["sts-002"], shown, rows[rows["case"] == "sts-002"], quality, {})


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["p1_ct1", EVIL, "n" * 10_000])
def test_it_is_quiet_and_fits_the_window(tmp_path, name, width):
    path = tmp_path / "case.html"
    path.write_text(render_case(page_of(name)), encoding="utf-8")
    with chromium() as browser, opened(browser, path, width=width) as here:
        assert here.complaints == []
        assert here.overflow_px() <= 0
        assert here.page.locator("h1").inner_text() == name
        if name != EVIL:
            assert here.serious_faults() == []


def test_every_model_has_its_picture():
    assert len(walls(page_of("x").overlays, {"x": views()["sts-002"]})) == 2
