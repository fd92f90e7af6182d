"""The start of the workflow: settings and the table of cases. The functions that rules ask follow in common_*.smk."""

import os
import signal
import sys
from collections import defaultdict
from pathlib import Path

import snakemake_executor_plugin_slurm

from cohortseg.cohort import read_cases
from cohortseg.errors import CohortError
from cohortseg.layout import TEST, Layout
from cohortseg.settings import load_study
from cohortseg.slurm_guard import guard
from cohortseg.workflow import (
    advice,
    ensure_indexed,
    refuse_second_run,
    require_cases,
    see_jobs_behind_ancient,
    sweep,
)
from snakemake.dag import DAG

# The commands of the environment that runs Snakemake, also where nobody activated it.
shell.prefix(
    f'set -euo pipefail; export PATH="{os.path.dirname(sys.executable)}:$PATH"; '
)

# A scheduler warns a whole job of its end by this signal. Only a training listens, saves and asks for more time; bash and
# Snakemake would die of it.
signal.signal(signal.SIGUSR1, signal.SIG_IGN)

see_jobs_behind_ancient(DAG)
guard(snakemake_executor_plugin_slurm, Path(workflow.rundir))

try:
    STUDY = load_study(config)
    LAYOUT = Layout(STUDY.folder)
    if workflow.is_main_process:
        ensure_indexed(STUDY)
    CASES = {case.case: case for case in read_cases(LAYOUT.cases_table)}
    require_cases(LAYOUT, len(CASES))
except CohortError as error:
    # One line instead of a traceback: nothing has started yet.
    sys.exit(f"cohortseg: {error}")

BATCHES = defaultdict(list)
FOLD_BATCHES = defaultdict(list)
for case in CASES.values():
    BATCHES[case.batch].append(case)
    FOLD_BATCHES[case.fold_batch].append(case)


onstart:
    if workflow.is_main_process:
        refuse_second_run(LAYOUT)
        sweep(LAYOUT)


onsuccess:
    if LAYOUT.report.exists():
        print(f"cohortseg: the report is {LAYOUT.report}", file=sys.stderr)


onerror:
    print(f"cohortseg: {advice(LAYOUT.root)}", file=sys.stderr)


wildcard_constraints:
    batch=r"b\d+",
    fold_batch=rf"f(\d+|{TEST})-b\d+",
    experiment="|".join(STUDY.experiments),
    fold=r"\d+",
    seed=r"\d+",
