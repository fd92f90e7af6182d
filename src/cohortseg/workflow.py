"""What the workflow asks while it is parsed (is there an index, is each changed job seen), and says at a failure."""

import csv
import os
import shutil
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cohortseg.alone import hold
from cohortseg.errors import StudyError
from cohortseg.io.sidecar import dumps, read_json, write_if_changed
from cohortseg.layout import Layout
from cohortseg.settings import Method, PretrainedMethod, Study

FULL_BELOW_MB = 10
"""With less room than this a failure is put down to the disk."""
AHEAD_S = 60.0
"""The clocks of two machines may differ by so much."""
OF_THE_GRAPH = (
    *("cohort/**/*.json", "cohort/*.tsv", "plan.json", "settings.yaml"),
    *(
        "experiments/*/done/*/*.json",
        "experiments/*/*/train.json",
        "experiments/*/tune/*/tuned.json",
        "experiments/*/chosen/*.json",
        "tables/*",
        "report/*.html",
        "report/figures/*",
    ),
)
"""Inputs and outputs of the rules, below the folder of a study."""
HALF_WRITTEN = (
    *(".*.part", "cohort/**/.*.part", "tables/.*.part", "report/.*.part", "private/**/.*.part"),
    *("experiments/*/done/*/.*.part", "experiments/*/*/.*.part", "experiments/*/tune/*/.*.part"),
)
"""Texts whose writer was killed before it gave them their name; those of a case go when the case is made again."""


def ensure_indexed(study: Study) -> None:
    """Index the source folder in a process of its own, so that parsing stays light.

    With `index: manual` only a missing table of cases is made.

    Raises
    ------
    StudyError
        When the index failed; its own line stands on stderr already.
    """
    if study.index == "manual" and Layout(study.folder).cases_table.exists():
        return
    command = [sys.executable, "-m", "cohortseg", "index", "--settings", study.model_dump_json()]
    try:
        done = subprocess.run(command, check=False, env={**os.environ}, stdout=sys.stderr.fileno())
    except KeyboardInterrupt:
        raise StudyError("interrupted while the index was made; nothing had started") from None
    if done.returncode != 0:
        raise StudyError("the index failed; see the line above")


def resolutions_of(method: Method) -> list[str]:
    """The model spaces that the networks of an experiment see images in, those before a cascade in its package too.

    What is no package is told by `plan`.
    """
    if not isinstance(method, PretrainedMethod):
        return [getattr(method, "resolution", "full")]
    listed = method.model / "model.json"
    package = read_json(listed) if listed.is_file() else {}
    return sorted({str(package.get("resolution", "full")), *(["low"] if "cascade" in package else [])})


def require_cases(layout: Layout, n_cases: int) -> None:
    """Stop where there is nothing to do.

    Raises
    ------
    StudyError
        When the index took no scan; one line with the reasons why not.
    """
    # A table of cases written by hand (`index: manual`) has none of those refused beside it.
    if n_cases or not layout.rejected_table.exists():
        return
    with layout.rejected_table.open(encoding="utf-8", newline="") as table:
        reasons = Counter(row["reason"] for row in csv.DictReader(table, delimiter="\t"))
    why = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    raise StudyError(
        f"no case to work on ({why or 'no image of the kind the settings name'}); `cohortseg index --dry-run` with the "
        "same --configfile shows what there is"
    )


def refuse_second_run(layout: Layout) -> None:
    """Stop when another run is at work on the study; else hold the study for the rest of this process.

    The operating system takes the lock back however the run ends, so nothing is left to unlock after a kill.
    """
    if not hold(layout.locks / "run.lock", "run"):
        sys.exit(f"cohortseg: another run is at work on {layout.root}; wait for its end, or stop it")


def sweep(layout: Layout) -> None:
    """Remove the texts that a killed run left half written; nobody but the holder of the study may."""
    for pattern in HALF_WRITTEN:
        for path in layout.root.glob(pattern):
            if path.is_file():
                path.unlink(missing_ok=True)


def write_asked(layout: Layout, asked: dict[str, Any]) -> None:
    """Write down what is asked of each piece of work, where it changed.

    Snakemake keeps such things in `.snakemake`. Where that was lost, a file that is newer than the results still tells.
    """
    for work, value in asked.items():
        write_if_changed(layout.asked(work), dumps(value, indent=1) + "\n")


def cards_of_site(default_resources: Any) -> tuple[str, bool]:
    """The type of card that the profile names, and whether the site knows `--gres` alone.

    A profile reaches a rule by resources only, so its answers stand among the default resources of all jobs.
    `default_resources` is Snakemake's `workflow.resource_settings.default_resources`, None without any.
    """
    words = []
    for name in ("site_gpu_model", "site_gpu_option"):
        found = default_resources.get(name) if default_resources else None
        words.append(str(getattr(found, "raw", found) or "").strip("'\""))
    return words[0], words[1] == "gres"


def bring_back_to_now(layout: Layout) -> int:
    """Date the files of the graph that say they come from the future as of now; how many there were.

    After the clock was set back Snakemake would take every new result for older than what it was made from, and stop.
    What is equally old counts as up to date, so nothing runs because of this.
    """
    now, n_found = time.time(), 0
    for pattern in OF_THE_GRAPH:
        for path in layout.root.glob(pattern):
            if path.is_file() and path.stat().st_mtime > now + AHEAD_S:
                os.utime(path, (now, now))
                n_found += 1
    if n_found:
        print(
            f"cohortseg: {n_found} files were from the future (a clock set back?) and are from now on", file=sys.stderr
        )
    return n_found


def advice(folder: Path) -> str:
    """What to say when jobs failed; a full disk is named here, because the logs that lie on it stay empty."""
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < FULL_BELOW_MB:
        return f"No space left on device: {free_mb:.1f} MB free for {folder}; make room and run the same command again"
    return f"`cohortseg status {folder}` names what failed and its logs; finished work is kept"


def see_jobs_behind_ancient(dag_class: Any) -> None:
    """Let Snakemake ask the jobs behind an `ancient()` input for reasons of their own.

    Snakemake asks no job behind one that runs, because it takes for granted that it will run as well. Behind
    `ancient()` it does not, and a setting that changed together with the cohort would wait for the next call (a
    known fault of Snakemake 9).

    Parameters
    ----------
    dag_class : type
        `snakemake.dag.DAG`; changed in place, once.
    """
    plain = dag_class.bfs
    if plain.__module__ == __name__:
        return

    def bfs(dag: Any, direction: Any, *jobs: Any, stop: Callable[[Any], bool] = lambda _: False) -> Iterator[Any]:
        """The jobs from `jobs` on; downwards only where a run of one makes the next one run."""
        if direction is not dag.depending:
            yield from plain(dag, direction, *jobs, stop=stop)
            return
        queue, seen = deque(jobs), set(jobs)
        while queue:
            job = queue.popleft()
            if stop(job):
                continue
            yield job
            bound = {after for after, files in direction[job].items() if not all(file.is_ancient for file in files)}
            queue.extend(bound - seen)
            seen |= bound

    dag_class.bfs = bfs
