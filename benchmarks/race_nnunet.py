"""Hippocampus, fold 0: ours against nnU-Net with the same CPU time to train in.

    python benchmarks/race_nnunet.py PEER_BIN DATA FOLDER [--minutes 5 30] [--threads 2] [--who ours nnunet] [--step-s S]
    python benchmarks/race_nnunet.py --plot CSV PNG

PEER_BIN is the bin folder of an environment with nnunetv2 2.8 and a torch of its own, DATA holds images and labels, FOLDER
keeps everything that is made. Both see the same 166 cases and are judged on the same 42. A budget of so many minutes on so
many threads is that product in CPU seconds of the training process with all its children, start, validation and
checkpoints included: it does not depend on who else uses the machine. Steps are what fits, after a short training of each,
or by the CPU seconds of a step that an earlier run found.
nnU-Net trains with one augmentation worker and predicts without mirroring; ours is the plan's network. Each row is added to
FOLDER/race.csv as soon as it exists.
"""

import argparse
import csv
import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import yaml
from measure import machine, run

from cohortseg.cohort import read_cases
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout

ROOT = Path(__file__).parents[1]
NAME = "Dataset004_Hippocampus"
PROBE = (20, 60)
"""Steps of the two short trainings whose difference is the cost of a step."""
TRAINER = '''
import os
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

class nnUNetTrainerRace(nnUNetTrainer):
    """So many steps, with the usual schedule."""

    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        steps = int(os.environ["RACE_STEPS"])
        self.num_epochs = max(1, steps // 10)
        self.num_iterations_per_epoch = max(1, round(steps / self.num_epochs))
        self.num_val_iterations_per_epoch = 1

    def perform_actual_validation(self, save_probabilities=False):
        """Left out: the held-out cases are predicted by the command."""
'''


def main() -> None:
    if sys.argv[1:2] == ["--plot"]:
        plot(*map(Path, sys.argv[2:4]))
        return
    parser = argparse.ArgumentParser()
    parser.add_argument("peer_bin", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--minutes", type=float, nargs="+", default=[5, 30])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--who", nargs="+", default=["ours", "nnunet"])
    parser.add_argument(
        "--step-s", type=float, help="CPU seconds of a step of the one racer, known from an earlier run"
    )
    parser.add_argument("--experiment", default="{}", help="further settings of our network, as JSON")
    arguments = parser.parse_args()
    if arguments.step_s and len(arguments.who) > 1:
        parser.error("--step-s is the cost of one racer: name it with --who")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print(machine())
    layout = prepare_ours(arguments)
    held_out = read_json(layout.members("0"))["validation"]
    racers = {"ours": Ours(arguments, layout)}
    if "nnunet" in arguments.who:
        racers["nnunet"] = NnUNet(arguments, layout)
    for minutes in arguments.minutes:
        for who in arguments.who:
            racer = racers[who]
            if arguments.step_s:
                racer.seconds = (0.0, arguments.step_s)
            steps = racer.steps_of(60.0 * minutes * arguments.threads)
            cost = racer.train(steps)
            found = {name: racer.label(name) for name in held_out} if racer.predict(steps) else {}
            row = {"tool": who, "minutes": minutes, "threads": arguments.threads, "steps": steps}
            row |= {"train_cpu_s": round(cost.cpu_s), "peak_mb": round(cost.peak_mb), "n": len(found)}
            row |= scores(found, arguments.data)
            keep(arguments.folder / "race.csv", row)
            print(row, flush=True)


def plot(table: Path, target: Path) -> None:
    """Dice of both parts against the CPU minutes of the training; each point is a training of its own."""
    import matplotlib.pyplot as plt

    with table.open(newline="") as file:
        rows = sorted(csv.DictReader(file), key=lambda row: float(row["train_cpu_s"]))
    figure, axes = plt.subplots(figsize=(6.0, 3.4), layout="constrained")
    for tool, name, colour in (("ours", "cohortseg", "#116080"), ("nnunet", "nnU-Net 2.8.1", "#b5541c")):
        own = [row for row in rows if row["tool"] == tool]
        minutes = [float(row["train_cpu_s"]) / 60 for row in own]
        for part, line, marker in (("anterior", "-", "o"), ("posterior", "--", "s")):
            dice = [float(row[part]) for row in own]
            axes.plot(minutes, dice, line, lw=0.6, marker=marker, color=colour, label=f"{name}, {part}")
    axes.set(xlabel="CPU minutes of training", ylabel="mean Dice, 42 held-out cases", ylim=(-0.03, 1.0), xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, loc="lower right")
    figure.savefig(target, dpi=150)


def file_of(case: str) -> str:
    """The file name of a case of ours."""
    return case.split("_mr")[0].replace("-", "_") + ".nii.gz"


def read(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def scores(found: dict[str, np.ndarray], data: Path) -> dict[str, float]:
    """Mean Dice of both parts over the held-out cases."""
    rows = []
    for name, label in found.items():
        truth = read(data / "labels" / file_of(name))
        rows.append(
            [2 * ((label == k) & (truth == k)).sum() / ((label == k).sum() + (truth == k).sum()) for k in (1, 2)]
        )
    anterior, posterior = np.mean(rows, axis=0)
    return {"anterior": round(float(anterior), 4), "posterior": round(float(posterior), 4)}


def keep(path: Path, row: dict[str, object]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, list(row), lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(row)


class Racer:
    """What both have in common: steps from two short trainings."""

    seconds: tuple[float, float] | None = None

    def train(self, steps: int):
        raise NotImplementedError

    def steps_of(self, budget_s: float) -> int:
        """Steps that fit a budget of CPU seconds, start included."""
        if self.seconds is None:
            few, more = (self.train(steps).cpu_s for steps in PROBE)
            each = (more - few) / (PROBE[1] - PROBE[0])
            self.seconds = (few - PROBE[0] * each, each)
        return max(10, int((budget_s - self.seconds[0]) / self.seconds[1]) // 10 * 10)


def prepare_ours(arguments: argparse.Namespace) -> Layout:
    """The study, converted and preprocessed; its folds are those of the race."""
    settings = yaml.safe_load((ROOT / "config" / "hippocampus.yaml").read_text())
    settings["cohort"]["source"] = str(arguments.data.resolve())
    settings["results"] = str(arguments.folder.resolve())
    path = arguments.folder / "study.yaml"
    path.write_text(yaml.safe_dump(settings))
    command = [
        "snakemake",
        "--cores",
        str(arguments.threads),
        "--configfile",
        str(path.resolve()),
        "--until",
        "preprocess",
        "split",
    ]
    if run(command, cwd=ROOT).returncode:
        sys.exit(f"failed: {' '.join(command)}")
    return Layout(arguments.folder.resolve() / settings["study"])


class Ours(Racer):
    def __init__(self, arguments: argparse.Namespace, layout: Layout) -> None:
        self.arguments, self.layout = arguments, layout
        self.settings = yaml.safe_load((arguments.folder / "study.yaml").read_text())
        first = self.settings["experiments"]["unet3d"]
        self.settings["experiments"] = {}
        self.method = {**first, **json.loads(arguments.experiment)}

    def target(self, steps: int, stage: str) -> list[str]:
        """The command that makes one stage of the held-out fold, and all before it."""
        name = f"steps{steps}"
        self.settings["experiments"][name] = {**self.method, "steps": steps, "validate_every": max(100, steps // 5)}
        path = self.arguments.folder / "race.yaml"
        path.write_text(yaml.safe_dump(self.settings))
        files = {"train": [self.layout.model(name, "0", 1) / "train.json"]}
        files["export"] = sorted(
            {
                self.layout.token("export", c.fold_batch, name)
                for c in read_cases(self.layout.cases_table)
                if c.fold == "0"
            }
        )
        threads = str(self.arguments.threads)
        return [
            "snakemake",
            "--cores",
            threads,
            "--set-threads",
            f"train={threads}",
            "--configfile",
            str(path.resolve()),
            "--",
            *map(str, files[stage]),
        ]

    def train(self, steps: int):
        return run(self.target(steps, "train"), cwd=ROOT)

    def predict(self, steps: int) -> bool:
        self.found = self.layout.root / "export" / f"steps{steps}"
        return run(self.target(steps, "export"), cwd=ROOT).returncode == 0

    def label(self, case: str) -> np.ndarray:
        return read(next(self.found.rglob(f"{case}.nii.gz")))


class NnUNet(Racer):
    def __init__(self, arguments: argparse.Namespace, layout: Layout) -> None:
        self.arguments, folder = arguments, arguments.folder.resolve() / "nnunet"
        self.folder = folder
        self.options = {
            "env": {
                **os.environ,
                **{key: str(folder / key) for key in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
                **{"nnUNet_compile": "f", "nnUNet_n_proc_DA": "1", "OMP_NUM_THREADS": str(arguments.threads)},
            }
        }
        members = read_json(layout.members("0"))
        self.held_out = members["validation"]
        raw = folder / "nnUNet_raw" / NAME
        if not (folder / "ready").exists():
            shutil.rmtree(folder, ignore_errors=True)
            for part in ("imagesTr", "labelsTr", "held"):
                (raw / part).mkdir(parents=True)
            for name in members["train"] + members["validation"]:
                stem = file_of(name).removesuffix(".nii.gz")
                for part in ("imagesTr", "held") if name in self.held_out else ("imagesTr",):
                    shutil.copy(arguments.data / "images" / file_of(name), raw / part / f"{stem}_0000.nii.gz")
                shutil.copy(arguments.data / "labels" / file_of(name), raw / "labelsTr" / file_of(name))
            about = {"channel_names": {"0": "MRI"}, "labels": {"background": 0, "anterior": 1, "posterior": 2}}
            about |= {"numTraining": sum(len(members[k]) for k in ("train", "validation")), "file_ending": ".nii.gz"}
            (raw / "dataset.json").write_text(json.dumps(about))
            self.call("nnUNetv2_plan_and_preprocess", "-d", "4", "-c", "3d_fullres", "-np", "1", "-npfp", "1")
            splits = [
                {
                    k: [file_of(n).removesuffix(".nii.gz") for n in members[v]]
                    for k, v in (("train", "train"), ("val", "validation"))
                }
            ]
            (folder / "nnUNet_preprocessed" / NAME / "splits_final.json").write_text(json.dumps(splits))
            (folder / "ready").touch()
        package = next(arguments.peer_bin.parent.glob("lib/python3*/site-packages/nnunetv2"))
        (package / "training/nnUNetTrainer/nnUNetTrainerRace.py").write_text(TRAINER)

    def call(self, command: str, *options: str, **extra: str):
        settings = {**self.options, "env": {**self.options["env"], **extra}}
        with (self.folder / "log.txt").open("a") as log:
            cost = run([str(self.arguments.peer_bin / command), *options], stdout=log, stderr=log, **settings)
        if cost.returncode:
            sys.exit(f"{command} failed: {self.folder / 'log.txt'}")
        return cost

    def train(self, steps: int):
        return self.call(
            "nnUNetv2_train",
            "4",
            "3d_fullres",
            "0",
            "-tr",
            "nnUNetTrainerRace",
            "-device",
            "cpu",
            RACE_STEPS=str(steps),
        )

    def predict(self, steps: int) -> bool:
        self.found = self.folder / f"steps{steps}"
        places = ("-i", str(self.folder / "nnUNet_raw" / NAME / "held"), "-o", str(self.found))
        how = (
            "-d",
            "4",
            "-c",
            "3d_fullres",
            "-f",
            "0",
            "-tr",
            "nnUNetTrainerRace",
            "-device",
            "cpu",
            "--disable_tta",
            "-npp",
            "1",
            "-nps",
            "1",
        )
        return self.call("nnUNetv2_predict", *places, *how, RACE_STEPS=str(steps)).returncode == 0

    def label(self, case: str) -> np.ndarray:
        return read(self.found / file_of(case))


if __name__ == "__main__":
    main()
