"""Where everything of a study lies: every path of `results/<study>/` is made here and nowhere else."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Layout:
    """The paths of one study folder."""

    root: Path

    # cohort: written by the index, readable by everyone
    @property
    def cases_table(self) -> Path:
        """One row per case."""
        return self.root / "cohort" / "cases.tsv"

    @property
    def series_table(self) -> Path:
        """One row per series, label object or stray file kind: what it is and what became of it."""
        return self.root / "cohort" / "series.tsv"

    @property
    def rejected_table(self) -> Path:
        """One row per series that the index refused."""
        return self.root / "cohort" / "rejected.tsv"

    @property
    def ledger(self) -> Path:
        """Frozen fold, role and batch of every case ever seen."""
        return self.root / "cohort" / "ledger.json"

    def members(self, fold: str) -> Path:
        """The frozen training and validation cases of one fold."""
        return self.root / "cohort" / "members" / f"fold-{fold}.json"

    def inner(self, experiment: str, fold: str) -> Path:
        """The frozen inner split of the training cases of a fold, which a search over an experiment works on."""
        return self.members(fold).with_name(f"fold-{fold}-inner-{experiment}.json")

    @property
    def folds(self) -> Path:
        """The folds of all converted cases, after the leakage check."""
        return self.root / "cohort" / "folds.json"

    @property
    def cohort_fingerprint(self) -> Path:
        """The fingerprints of all cases in one file."""
        return self.root / "cohort" / "fingerprint.json"

    @property
    def plan(self) -> Path:
        """The frozen plan."""
        return self.root / "plan.json"

    @property
    def settings(self) -> Path:
        """The settings of the last run, without the source path."""
        return self.root / "settings.yaml"

    # private: identities, never shared
    @property
    def private(self) -> Path:
        """Source paths, original ids and UIDs; mode 0700."""
        return self.root / "private"

    @property
    def identities(self) -> Path:
        """Original ids and UIDs of subjects and cases."""
        return self.private / "identities.json"

    @property
    def headers_cache(self) -> Path:
        """Headers of all source files, by path, size and time."""
        return self.private / "headers.sqlite"

    @property
    def files_table(self) -> Path:
        """One row per source file."""
        return self.private / "files.tsv"

    def source(self, case: str) -> Path:
        """The source files of one case."""
        return self.private / "sources" / f"{case}.json"

    def source_key(self, case: str) -> Path:
        """What the converted stores of one case were made from."""
        return self.private / "converted" / f"{case}.json"

    @property
    def clinical(self) -> Path:
        """The clinical data that the settings name, by subject or case."""
        return self.private / "clinical.tsv"

    # per case
    def case(self, case: str) -> Path:
        """The folder of one case's images and reference."""
        return self.root / "cases" / case

    def images(self, case: str, channels: Sequence[str]) -> list[Path]:
        """The converted image of each channel; the first one is the reference, `image.zarr`."""
        names = ["image", *(f"image-{channel}" for channel in channels[1:])]
        return [self.case(case) / f"{name}.zarr" for name in names]

    def prepared(self, case: str, resolution: str = "full") -> Path:
        """One case in model space, at one of its resolutions; the sidecar lies beside it (`.json`)."""
        return self.case(case) / f"prepared{'' if resolution == 'full' else f'-{resolution}'}.zarr"

    def instances(self, case: str) -> Path:
        """The ids of the objects of the reference, where it has them."""
        return self.case(case) / "instances.zarr"

    @property
    def forgotten(self) -> Path:
        """Those whose scans the index must leave alone, as hashes of their ids."""
        return self.private / "forgotten.json"

    def model(self, experiment: str, fold: str, seed: int) -> Path:
        """The folder of one trained model."""
        return self.root / "experiments" / experiment / model_name(fold, seed)

    def pseudo(self, experiment: str, fold: str, case: str) -> Path:
        """The folder of the label that an experiment learns from on a case, where it is not the reference."""
        return self.root / "experiments" / experiment / f"pseudo-{fold}" / "cases" / case

    def pair(self, experiment: str, fold: str, other: str, seed: int) -> Path:
        """The folder of a model that has seen the cases of neither of two folds."""
        return self.root / "experiments" / experiment / pair_name(fold, other, seed)

    def before(self, experiment: str, fold: str, case: str) -> Path:
        """The folder of the label that a cascade is given on a case, where it is trained on that fold's members."""
        return self.root / "experiments" / experiment / f"cascade-{fold}" / "cases" / case

    def budget(self, experiment: str) -> Path:
        """The frozen number of steps that fit the minutes of an experiment."""
        return self.root / "experiments" / experiment / "budget.json"

    def trial(self, experiment: str, fold: str, number: int) -> Path:
        """The record of one trial of a search: what was tried, and its score."""
        return self.tuned(experiment, fold).with_name(f"trial-{number:03d}.json")

    def tuned(self, experiment: str, fold: str) -> Path:
        """The settings that the search of a fold has chosen, and nothing else."""
        return self.root / "experiments" / experiment / "tune" / f"fold-{fold}" / "tuned.json"

    def prediction(self, experiment: str, model: str, case: str) -> Path:
        """The folder of one model's results on one case."""
        return self.root / "experiments" / experiment / model / "cases" / case

    def chosen(self, experiment: str, what: str, fold: str) -> Path:
        """What was chosen for the cases of one fold (`cleaning`, `threshold`), and nothing else."""
        return self.root / "experiments" / experiment / "chosen" / f"{what}-{fold}.json"

    def choices(self, experiment: str, what: str) -> Path:
        """What each candidate of a choice was worth."""
        return self.root / "experiments" / experiment / "chosen" / f"{what}.json"

    def token(self, stage: str, batch: str, experiment: str | None = None) -> Path:
        """The file that says a batch is done."""
        home = self.root / "cohort" if experiment is None else self.root / "experiments" / experiment
        return home / "done" / stage / f"{batch}.json"

    def asked(self, work: str) -> Path:
        """What was last asked of a piece of work (settings, sources); after a change newer than its results."""
        return self.root / "cohort" / "asked" / f"{work}.json"

    @property
    def locks(self) -> Path:
        """Lock files of the GPUs of a machine that no scheduler shares out."""
        return self.root / ".locks"

    def scratch(self, name: str) -> Path:
        """A folder for the length of one job."""
        return self.root / ".scratch" / name

    # results
    @property
    def worker_logs(self) -> Path:
        """Logs of the SLURM jobs that share the blocks of oversize cases."""
        return self.root / "logs" / "workers"

    def table(self, name: str) -> Path:
        """A table of results."""
        return self.root / "tables" / f"{name}.csv"

    @property
    def types(self) -> Path:
        """The classifiers of types, one for each segmentation and fold."""
        return self.root / "types"

    @property
    def crate(self) -> Path:
        """What the study folder holds, for machines (RO-Crate)."""
        return self.root / "ro-crate-metadata.json"

    @property
    def report(self) -> Path:
        """The report."""
        return self.root / "report" / "report.html"

    def figure(self, name: str, kind: str) -> Path:
        """A figure for a paper; `kind` is png or svg."""
        return self.root / "report" / "figures" / f"{name}.{kind}"

    def exported(self, experiment: str, model: str, case: str, suffix: str = ".nii.gz") -> Path:
        """An exported file of one case; the suffix tells the format, and the class where there is a file for each."""
        return self.root / "export" / experiment / model / f"{case}{suffix}"


def model_name(fold: str, seed: int) -> str:
    """Name of a model: one fold, one seed."""
    return f"fold-{fold}-seed-{seed}"


def pair_name(fold: str, other: str, seed: int) -> str:
    """Name of a model that has seen the cases of neither of two folds; in which order they are named plays no part."""
    first, second = sorted((fold, other), key=int)
    return f"without-{first}-{second}-seed-{seed}"


UNTRAINED = "untrained"
"""Name of the one model of a method without weights."""

ELECTED = "elected"
"""Name of the one model of a method that takes the prediction of others."""

TEST = "test"
"""Fold of the independent test set, predicted by the ensemble of all folds."""


def ensemble_name(seed: int) -> str:
    """Name of the ensemble over all folds."""
    return f"ensemble-seed-{seed}"
