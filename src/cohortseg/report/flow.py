"""The cohort flow, as in a CONSORT diagram: how many scans reach each stage, and who leaves on the way and why."""

from collections import Counter
from dataclasses import dataclass, replace

import pandas as pd

from cohortseg.report.content import FLOW_COLUMNS, with_columns
from cohortseg.report.numbers import is_number

MOST_BRANCHES = 6
"""Experiments that have a box each, however they end."""
STAGE_TITLES: dict[str, str] = {
    "found": "Found",
    "index": "Taken into the cohort",
    "convert": "Converted",
    "preprocess": "Prepared",
    "predict": "Predicted",
    "postprocess": "Post-processed",
    "evaluate": "Evaluated",
}
"""What those who got through a stage are called."""

STATUS_WORDS = {"rejected": "rejected", "excluded": "excluded", "pending": "still to do", "todo": "still to do"}
NOT_MEANT = "not selected"
STAYING: dict[str, str] = {"unlabelled": "without a reference label: predicted, not scored"}
"""Status of scans that are counted among the `ok` ones of the same stage already."""


@dataclass(frozen=True)
class Group:
    """Scans that share a fate at one stage: how many, and why."""

    status: str
    reason: str
    meaning: str
    n: int


@dataclass(frozen=True)
class FlowStep:
    """One box of the flow.

    Parameters
    ----------
    stage, title : str
        Name of the stage, and what those who got through are called.
    n : int
        How many got through.
    share : float
        `n` over the number found, in [0, 1].
    leaving : tuple of Group
        Who left between the box above and this one; the largest group first.
    among : tuple of Group
        Who is worth a word among the `n`.
    """

    stage: str
    title: str
    n: int
    share: float
    leaving: tuple[Group, ...] = ()
    among: tuple[Group, ...] = ()


@dataclass(frozen=True)
class Flow:
    """The boxes from top to bottom, and those side by side below them: one per experiment."""

    steps: tuple[FlowStep, ...] = ()
    branches: tuple[FlowStep, ...] = ()

    @property
    def n_found(self) -> int:
        """How many scans were found; 0 for an empty flow."""
        return self.steps[0].n if self.steps else 0

    @property
    def n_rejected(self) -> int:
        """How many scans were rejected before they reached an experiment; those still to do do not count."""
        groups = [group for step in self.steps for group in step.leaving]
        return sum(group.n for group in groups if group.status == STATUS_WORDS["rejected"])

    @property
    def n_not_selected(self) -> int:
        """How many scans were never meant: the settings select others."""
        groups = [group for step in self.steps for group in step.leaving]
        return sum(group.n for group in groups if group.status == NOT_MEANT)


def flow_diagram(flow: pd.DataFrame) -> Flow:
    """The boxes of the flow; the first is what was found; no boxes for an empty table.

    Parameters
    ----------
    flow : DataFrame
        Columns stage, status, reason, meaning, n, in the order of the stages. Status `ok` goes on; `unlabelled` is
        part of `ok`; every other status leaves. A stage without an `ok` line keeps whoever does not leave it. Without
        a stage `found`, all scans of the first stage count as found. A stage of two words, `evaluate unet2d`, is a
        branch: the experiments stand side by side, those of many that end alike in one box.
    """
    table = with_columns(flow, FLOW_COLUMNS)
    table = table[table["stage"].notna()]
    steps: list[FlowStep] = []
    branches: list[FlowStep] = []
    for name, part in table.groupby("stage", sort=False):
        stage, _, experiment = str(name).partition(" ")
        groups = _groups(part)
        leaving = tuple(group for group in groups if group.status not in ("ok", *STAYING))
        n_stated = sum(group.n for group in groups if group.status == "ok")
        if not steps and stage != "found":
            steps.append(_step("found", STAGE_TITLES["found"], n_stated + sum(group.n for group in leaving)))
        n_left = steps[-1].n - sum(group.n for group in leaving) if steps else 0
        n = n_stated if any(part["status"] == "ok") else max(0, n_left)
        among = tuple(group for group in groups if group.status in STAYING)
        title = experiment or STAGE_TITLES.get(stage, stage.replace("_", " ").capitalize())
        step = _step(stage, title, n, n_found=steps[0].n if steps else n, leaving=leaving, among=among)
        (branches if experiment else steps).append(step)
    return Flow(tuple(steps), _equal_ones_together(branches))


def _equal_ones_together(branches: list[FlowStep]) -> tuple[FlowStep, ...]:
    """Of many experiments those that scored equally many cases, and lost none, in one box before the others."""
    whole = [step for step in branches if not step.leaving and not step.among]
    usual = Counter(step.n for step in whole).most_common(1)
    equal = [step for step in whole if usual and step.n == usual[0][0]]
    if len(branches) <= MOST_BRANCHES or len(equal) < 2:
        return tuple(branches)
    others = [step for step in branches if step not in equal]
    return (replace(equal[0], title=f"each of {len(equal)} experiments"), *others)


def _step(
    stage: str,
    title: str,
    n: int,
    *,
    n_found: int | None = None,
    leaving: tuple[Group, ...] = (),
    among: tuple[Group, ...] = (),
) -> FlowStep:
    found = n if n_found is None else n_found
    words = tuple(Group(_status_words(g), g.reason, g.meaning, g.n) for g in leaving)
    remarks = tuple(Group(STAYING[g.status], g.reason, g.meaning, g.n) for g in among)
    return FlowStep(stage, title, n, min(1.0, n / found) if found else 0.0, words, remarks)


def _status_words(group: Group) -> str:
    """A scan that the settings do not select is not a bad one."""
    if group.status == "rejected" and group.reason == "NOT_SELECTED":
        return NOT_MEANT
    return STATUS_WORDS.get(group.status, group.status)


def _groups(part: pd.DataFrame) -> tuple[Group, ...]:
    """The lines of one stage that stand for somebody, the largest first."""
    groups = [
        Group(str(status), _text(reason), _text(meaning), int(n))
        for status, reason, meaning, n in part[list(FLOW_COLUMNS[1:])].itertuples(index=False)
        if is_number(n) and int(n) > 0
    ]
    return tuple(sorted(groups, key=lambda group: (-group.n, group.status, group.reason)))


def _text(value: object) -> str:
    """A text; empty for None and NaN."""
    return value if isinstance(value, str) else ""
