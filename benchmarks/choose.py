"""What cross-fitted choices are worth: `postprocess: auto` on a copy of a finished study, by each rule.

    python benchmarks/choose.py results/sarcoma-ct            # raw and post by the rules `interval` and `gain`, and largest
    python benchmarks/choose.py --volume                      # cost of looking at one case of 300×512×512

Nothing is trained or predicted: the steps after `predict` run on a copy in a temporary folder. Thresholds are judged by
the histograms that `predict` left.
"""

import argparse
import contextlib
import io
import resource
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.settings import Study, load_study
from cohortseg.stages import stage_settings
from cohortseg.steps import aggregate, candidates, choose, evaluate, postprocess, threshold

SETTINGS: dict[str, Any] = {
    "auto, interval": {"choose": True},
    "auto, gain": {"choose": True, "keep_if": "gain"},
    "largest": {"keep": "largest", "fill_holes": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", nargs="?", type=Path)
    parser.add_argument("--volume", action="store_true")
    arguments = parser.parse_args()
    if arguments.volume:
        cost_of_a_volume()
    if arguments.study is not None:
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "study"
            shutil.copytree(arguments.study, copy)
            for name, values in SETTINGS.items():
                with contextlib.redirect_stderr(io.StringIO()):
                    judge(Layout(copy), name, study_with(copy, values))
            thresholds(Layout(copy), study_with(copy, SETTINGS["auto, interval"]))


def study_with(root: Path, cleaning: dict[str, Any]) -> Study:
    values = yaml.safe_load((root / "settings.yaml").read_text())
    return load_study({**values, "cohort": {"source": ".", **values["cohort"]}, "postprocess": cleaning})


def judge(layout: Layout, name: str, study: Study) -> None:
    """Run the steps after `predict`; the mean Dice of all validation cases, and what was chosen."""
    for experiment in study.experiments:
        stages = {"candidates": candidates, "postprocess": postprocess, "evaluate": evaluate}
        for stage in (
            ("candidates", "choose", "postprocess", "evaluate") if study.postprocess.choose else list(stages)[1:]
        ):
            settings = stage_settings(study, stage, experiment)
            if stage == "choose":
                choose.run(argparse.Namespace(study=layout, experiment=experiment, settings=settings))
                continue
            for token in sorted(layout.token("predict", "x", experiment).parent.glob("*.json")):
                cases = [unit.rpartition("/")[2] for unit in read_json(token)["cases"]]
                own = layout.token(stage, token.stem, experiment)
                stages[stage].run(
                    argparse.Namespace(study=layout, experiment=experiment, cases=cases, settings=settings, token=own)
                )
    aggregate.run(argparse.Namespace(study=layout, settings=stage_settings(study, "aggregate")))
    rows = pd.read_csv(layout.table("summary")).query("metric == 'dice' and split == 'val'")
    for _, row in rows.iterrows():
        print(
            f"| {row.experiment} | {row.label} | {row.stage}, {name} | {row.n_cases} "
            f"| {row['mean']:.3f} ({row.ci_low:.3f} to {row.ci_high:.3f}) |"
        )
    for _, row in pd.read_csv(layout.table("choices")).iterrows():
        print(
            f"    {row.experiment} {row.label} fold {row.applied_to}: {row.chosen}, gain {row.gain:+.4f} "
            f"({row.ci_low:+.4f} to {row.ci_high:+.4f}, {row.n_subjects} subjects), held out {row.held_out_gain:+.4f}"
        )


def thresholds(layout: Layout, study: Study) -> None:
    """The threshold that each rule would choose for networks of one class, and what it does to the fold itself."""
    for experiment in study.networks if len(study.cohort.labels.classes) == 1 else ():
        for rule in ("interval", "gain"):
            settings = threshold.ChooseStage.model_validate_json(stage_settings(study, "threshold", experiment))
            _, lines = threshold.thresholds(layout, experiment, settings.model_copy(update={"keep_if": rule}))
            for one in lines:
                if one["verdict"] == "kept":
                    own = "" if one["held_out_gain"] is None else f", held out {one['held_out_gain']:+.4f}"
                    print(
                        f"threshold by {rule}: {experiment} fold {one['applied_to']}: {one['candidate']}, "
                        f"gain {one['gain']:+.4f}{own}"
                    )


def cost_of_a_volume() -> None:
    """CPU seconds and memory of `tally` on two classes of 300×512×512 with specks."""
    from cohortseg.postprocess.candidates import tally

    shape, random = (300, 512, 512), np.random.default_rng(1)
    label, reference = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    label[30:270, 50:460, 60:450], reference[35:265, 60:470, 50:440] = 1, 1
    label[100:140, 200:240, 200:240], reference[100:140, 205:245, 200:240] = 2, 2
    label.ravel()[random.choice(label.size, 15_000, replace=False)] = 2
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    tally(label, reference, spacing_mm=(1.0, 0.75, 0.75), n_classes=2)
    more = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(f"300×512×512, 2 classes: {time.process_time() - started:.1f} CPU s, {more:.0f} MB beside the two labels")


if __name__ == "__main__":
    main()
