"""What the workflow says before any job: is there anything to do."""

import pytest

from cohortseg.errors import StudyError
from cohortseg.layout import Layout
from cohortseg.workflow import require_cases


def test_without_a_case_the_reasons_why_are_counted(tmp_path):
    layout = Layout(tmp_path)
    layout.rejected_table.parent.mkdir()
    lines = ["case\treason", "a1\tNOT_SELECTED", "a2\tTOO_FEW_SLICES", "a3\tNOT_SELECTED"]
    layout.rejected_table.write_text("\n".join(lines) + "\n")
    with pytest.raises(StudyError, match=r"no case to work on \(NOT_SELECTED 2, TOO_FEW_SLICES 1\); `cohortseg index"):
        require_cases(layout, 0)
    require_cases(layout, 1)


def test_without_any_image_that_is_said(tmp_path):
    layout = Layout(tmp_path)
    layout.rejected_table.parent.mkdir()
    layout.rejected_table.write_text("case\treason\n")
    with pytest.raises(StudyError, match="no image of the kind the settings name"):
        require_cases(layout, 0)
