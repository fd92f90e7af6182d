"""What a run that was killed left half written is swept away by the next, and nothing else is."""

from cohortseg.layout import Layout
from cohortseg.workflow import sweep


def test_half_written_texts_go_and_whole_ones_stay(tmp_path):
    layout = Layout(tmp_path)
    whole = [
        layout.cases_table,
        layout.asked("convert-b0001"),
        layout.token("convert", "b0001"),
        layout.token("predict", "f0-b0001", "unet"),
        layout.model("unet", "0", 1) / "train.json",
        layout.tuned("unet", "0"),
        layout.chosen("unet", "cleaning", "0"),
        layout.table("summary"),
        layout.report,
        layout.plan,
        layout.source("sub-0001_ct1"),
    ]
    for path in whole:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("whole")
        path.with_name(f".{path.name}.4711.part").write_text("half")
    sweep(layout)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(whole)
