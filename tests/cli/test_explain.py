"""Explaining a case: from the series of each channel and label to every row of metrics, and no step left out."""

import argparse

import pytest
from study_by_hand import (
    case_of,
    label_of,
    refused,
    sidecar_of,
    study_of,
    write_case,
    write_prediction,
    write_sidecar,
    write_token,
)

from cohortseg.cli.explain import explain, run
from cohortseg.cohort import table_text
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import write_json, write_text

CASE, MODEL = "p1_ct1", "fold-0-seed-1"


def files(folder: str, n: int, uid: str | None = None, **more) -> list[dict]:
    header = {"series_uid": uid, "modality": "CT"} if uid else None
    return [{"path": f"{folder}/{k}.dcm", "size": 1, "mtime_ns": 1, "header": header, **more} for k in range(n)]


def channel(kind="dicom", part="", **own) -> dict:
    base = {"kind": kind, "key": "k", "modality": "CT", "part": part, "phases": None, "files": files("ct", 3, "1.2.3")}
    return base | own


def source_of(layout, *channels, label=None) -> None:
    write_json(layout.source(CASE), {"root": "/data/cohort", "channels": list(channels), "label": label})


@pytest.fixture
def layout(tmp_path):
    """One case, converted and predicted by a trained and an untrained method."""
    layout = study_of(tmp_path, case_of(CASE))
    source_of(layout, channel())
    write_case(layout, CASE, label=label_of())
    for experiment, unit in (("net", f"{MODEL}/{CASE}"), ("otsu", f"untrained/{CASE}")):
        write_prediction(layout, experiment, unit)
        write_token(layout, "predict", "f0-b0001", [unit], experiment)
    record = sidecar_of("train", weights="sha256:abc", members={"train": ["p2_ct1", "p3_ct1"]})
    write_sidecar(layout.model("net", "0", 1) / "train.json", record)
    return layout


def told(layout) -> str:
    return "\n".join(explain(layout, CASE))


def test_a_case_is_led_from_its_series_to_its_models(layout):
    lines = explain(layout, CASE)
    assert lines[:4] == [
        f"case {CASE}: subject p1, fold 0 (cohort)",
        "source (private): folder /data/cohort",
        "  CT: SeriesInstanceUID 1.2.3, 3 files",
        "    first ct/0.dcm, last ct/2.dcm",
    ]
    text = "\n".join(lines)
    assert "convert (revision 1): ok" in text
    assert "experiment net, model fold-0-seed-1\n  trained: fold 0, seed 1, 2 cases" in text
    assert "    weights sha256:abc" in text
    assert "experiment otsu, model untrained" in text
    assert text.count("trained: fold") == 1, "a method without weights was never trained"
    for stage in ("predict", "postprocess", "evaluate"):
        assert text.count(f"  {stage} (revision 1): ok") == 2


def search_of(layout, experiment, *scores):
    """Finished trials of fold 0, and the settings of the best of them."""
    for number, score in enumerate(scores):
        facts = {"number": number, "score": score, "metric": "dice", "n_cases": 3, "settings": {"low": 10 * number}}
        write_sidecar(layout.trial(experiment, "0", number), sidecar_of("trial", **facts))
    chosen = {"low": 10 * scores.index(max(scores))}
    write_json(layout.tuned(experiment, "0"), {"settings": chosen})
    return chosen


def test_the_trial_that_gave_the_settings_is_told_for_both_kinds_of_methods(layout):
    chosen = search_of(layout, "net", 0.2, 0.7, 0.5)
    record = sidecar_of("train", weights="sha256:abc", members={"train": ["p2_ct1"]}, tuned=chosen)
    write_sidecar(layout.model("net", "0", 1) / "train.json", record)
    search_of(layout, "otsu", 0.4, 0.3)
    folder = layout.prediction("otsu", "untrained", CASE)
    write_sidecar(folder / "raw.json", sidecar_of("predict") | {"inputs": {"tuned": "sha256:1"}})
    text = told(layout)
    assert "  settings of trial 1 of 3 in fold 0 (dice 0.7000 on 3 training cases): low 10\n  trained: fold 0" in text
    assert "  settings of trial 0 of 2 in fold 0 (dice 0.4000 on 3 training cases): low 0" in text
    assert text.count("settings of trial") == 2
    layout.trial("net", "0", 1).unlink()
    assert "settings of a search, whose trial is gone: low 10" in told(layout)


def test_every_row_of_metrics_is_told_and_an_undefined_one_with_its_reason(layout):
    folder = layout.prediction("net", MODEL, CASE)
    values = {"dice": 0.87654, "hd95_mm": 3.25, "nsd": None, "undefined": ""}
    nothing = {"dice": None, "hd95_mm": None, "nsd": None, "undefined": "both_empty"}
    missed = {"dice": 0.0, "hd95_mm": None, "nsd": None, "undefined": "prediction_empty"}
    metrics = {"raw": {"tumour": values}, "post": {"tumour": missed, "node": nothing}}
    write_sidecar(folder / "metrics.json", sidecar_of("evaluate", metrics=metrics))
    rows = [line.strip() for line in explain(layout, CASE) if line.startswith("  row")]
    assert rows == [
        "row raw tumour: dice 0.8765, hd95_mm 3.25",
        "row post node: both_empty",
        "row post tumour: dice 0; prediction_empty",
    ]


def test_each_channel_is_told_with_its_series_and_a_missing_one_as_missing(layout):
    mr = channel(modality="MR", files=files("mr", 2, "4.5.6"))
    source_of(layout, channel(), mr, None)
    text = told(layout)
    assert "  CT: SeriesInstanceUID 1.2.3, 3 files\n" in text
    assert "  MR: SeriesInstanceUID 4.5.6, 2 files\n    first mr/0.dcm, last mr/1.dcm\n  channel 3: missing\n" in text


def test_the_volume_of_a_series_of_several_is_told(layout):
    source_of(layout, channel(part="phase 2 of 3"))
    assert "  CT: SeriesInstanceUID 1.2.3, volume phase 2 of 3, 3 files\n" in told(layout)


def test_the_number_of_frames_that_were_used_is_told(layout):
    source_of(layout, channel(part="2", files=files("ct", 1, "1.2.3", frames=[7, 8, 9])))
    assert "  CT: SeriesInstanceUID 1.2.3, volume 2, 1 file, 3 frames of them\n    ct/0.dcm\n" in told(layout)


@pytest.mark.parametrize("kind", ["file", "picture"])
def test_a_file_is_told_by_its_name(layout, kind):
    one = [{"path": "images/a.nii.gz", "size": 1, "mtime_ns": 1, "header": None}]
    source_of(layout, channel(kind, key="images/a.nii.gz", files=one))
    assert "  CT: file images/a.nii.gz, 1 file\n    images/a.nii.gz\n" in told(layout)


def test_a_label_is_told_with_its_kind_and_series(layout):
    one = files("rs", 1, "7.8.9")
    source_of(layout, channel(), label={"kind": "rtstruct", "parts": [{"classes": [], "files": one}]})
    assert "  label (rtstruct): SeriesInstanceUID 7.8.9, 1 file\n    rs/0.dcm\n" in told(layout)


def test_every_series_of_masks_is_told_with_its_classes(layout):
    parts = [
        {"classes": ["liver"], "files": files("liver", 3, "7.1")},
        {"classes": ["tumour", "node"], "files": files("tumour", 2, "7.2")},
    ]
    source_of(layout, channel(), label={"kind": "series", "parts": parts})
    text = told(layout)
    assert (
        "  label (series) of liver: SeriesInstanceUID 7.1, 3 files\n    first liver/0.dcm, last liver/2.dcm\n" in text
    )
    assert "  label (series) of tumour, node: SeriesInstanceUID 7.2, 2 files\n" in text


def test_a_stage_that_refused_the_case_says_why(layout):
    write_sidecar(layout.case(CASE) / "image.json", refused("convert", "MISSING_SLICE", "1 of 9 distances"))
    assert "convert (revision 1): rejected\n  MISSING_SLICE: 1 of 9 distances\n" in told(layout)


def test_stages_that_did_not_run_are_no_obstacle(tmp_path):
    layout = study_of(tmp_path, case_of(CASE))
    source_of(layout, channel())
    assert len(explain(layout, CASE)) == 4


def test_a_series_that_the_index_refused_is_told_with_its_reason_and_files(tmp_path):
    layout = study_of(tmp_path, case_of(CASE), rejected=(("p2_ct1", "BURNED_IN"),))
    rows = [{"path": f'a "b"/{k}.dcm', "kind": "image", "case": "p2_ct1", "fate": "BURNED_IN"} for k in range(2)]
    write_text(layout.files_table, table_text(rows, ["path", "kind", "case", "fate"]))
    assert explain(layout, "p2_ct1") == [
        "case p2_ct1: subject p2_ct1, not in the cohort",
        "  BURNED_IN: found so",
        'source (private): 2 files, first a "b"/0.dcm, last a "b"/1.dcm',
    ]
    layout.files_table.unlink()
    assert len(explain(layout, "p2_ct1")) == 2


def test_a_name_that_is_none_is_an_error_that_names_others(layout):
    with pytest.raises(StudyError, match=rf"no case 'p9_ct1' .*for example: {CASE}"):
        explain(layout, "p9_ct1")


def test_the_command_prints_the_lines(layout, capsys):
    run(argparse.Namespace(study=layout.root, case=CASE, html=None))
    assert capsys.readouterr().out.splitlines() == explain(layout, CASE)


def test_labels_of_another_experiment_and_the_stability_of_a_case_are_told(layout):
    labels = {"from": "otsu", "pseudo": {"p2_ct1": "sha256:1", CASE: "sha256:2"}, "reference": ["p3_ct1"]}
    members = {"train": ["p2_ct1", "p3_ct1", CASE]}
    record = sidecar_of("train", weights="sha256:abc", members=members, labels=labels)
    write_sidecar(layout.model("net", "0", 1) / "train.json", record)
    write_sidecar(layout.pseudo("net", "1", CASE) / "pseudo.json", sidecar_of("pseudolabel", "sha256:of otsu"))
    folder = layout.prediction("otsu", "untrained", CASE)
    changes = {"flip_x": {"tumour": 1.0}, "noise": {"tumour": 0.81234}, "resolution": {"reason": "TOO_SMALL"}}
    write_sidecar(folder / "stability.json", sidecar_of("stability", stability=changes))
    text = told(layout)
    assert "experiment net, label for the training of fold 1, made by another experiment" in text
    assert "content sha256:of otsu" in text
    assert "labels of otsu on 2 cases, 1 with their references" in text
    assert "this case with such a label" in text
    assert "stable under noise: tumour 0.8123" in text
    assert "stable under resolution: reason TOO_SMALL" in text
