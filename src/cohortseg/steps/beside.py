"""A scratch study beside a real one, in which steps run on images, or in folds, that the real one does not have."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from cohortseg.cohort import Case, cases_text
from cohortseg.io.sidecar import write_text
from cohortseg.layout import Layout

OF_A_MODEL = ("train.json", "weights.safetensors")


@contextmanager
def beside(layout: Layout, name: str, experiment: str, cases: Sequence[Case]) -> Iterator[Layout]:
    """A study with a table of these cases, the plan and the models of an experiment; removed at the end.

    Its cases have no folder yet. Whatever is written goes into the scratch study: the models are there by links to
    their files, never to their folders.

    Parameters
    ----------
    layout : Layout
        The real study.
    name : str
        Of the scratch folder: one for each piece of work. What a killed job left under it is removed first.
    experiment : str
        Whose models are there.
    cases : sequence of Case
        Rows of its table.
    """
    scratch = Layout(layout.scratch(name))
    shutil.rmtree(scratch.root, ignore_errors=True)
    try:
        write_text(scratch.cases_table, cases_text(cases))
        for real, ours in (
            (layout.ledger, scratch.ledger),
            (layout.plan, scratch.plan),
            # One GPU is shared with the jobs of the real study.
            (layout.locks, scratch.locks),
        ):
            _link(real, ours)
        folder = layout.root / "experiments" / experiment
        for model in sorted(folder.glob("fold-*-seed-*")):
            for part in OF_A_MODEL:
                _link(model / part, scratch.root / "experiments" / experiment / model.name / part)
        yield scratch
    finally:
        shutil.rmtree(scratch.root, ignore_errors=True)


def link_case(layout: Layout, scratch: Layout, case: str) -> None:
    """Let a case of the real study be one of the scratch study too; steps must not write into its folder."""
    _link(layout.case(case), scratch.case(case))


def _link(real: Path, ours: Path) -> None:
    if real.exists():
        ours.parent.mkdir(parents=True, exist_ok=True)
        ours.symlink_to(real.resolve(), target_is_directory=real.is_dir())
