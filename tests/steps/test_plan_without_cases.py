"""A plan without any usable case says why, and what one can do."""

import pytest
from study_by_hand import case_of, refused, study_of, write_sidecar

from cohortseg.cli.status import progress
from cohortseg.steps.plan import _why


@pytest.fixture
def layout(tmp_path):
    found = study_of(tmp_path, *(case_of(f"p{number}_ct1") for number in (1, 2, 3)))
    for number, (reason, words) in enumerate(
        [
            ("LABEL_OFF_GRID", "0.3 mm"),
            ("LABEL_STRUCTURE_MISSING", "none of 1"),
            ("LABEL_STRUCTURE_MISSING", "none of 2"),
        ],
        start=1,
    ):
        write_sidecar(found.case(f"p{number}_ct1") / "image.json", refused("convert", reason, words))
    return found


def test_the_commonest_reason_is_told_with_its_way_out(layout):
    said = _why(layout)
    assert said.startswith("; 2 of 3 cases are refused with LABEL_STRUCTURE_MISSING: none of 1. Widen `cohort.labels.")


def test_the_status_counts_the_reasons_where_they_arose(layout):
    (layout.root / "cohort" / "done" / "convert").mkdir(parents=True)
    (line,) = [line for line in progress(layout) if line.name == "convert"]
    assert (line.rejected, line.note) == (3, "LABEL_STRUCTURE_MISSING 2, LABEL_OFF_GRID 1")
