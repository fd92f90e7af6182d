"""What the workflow asks while it is parsed: is the cohort indexed?"""

import os
import subprocess
import sys

from cohortseg.errors import StudyError
from cohortseg.layout import Layout
from cohortseg.settings import Study


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
    done = subprocess.run(command, check=False, env={**os.environ}, stdout=sys.stderr.fileno())
    if done.returncode != 0:
        raise StudyError("the index failed; see the line above")
