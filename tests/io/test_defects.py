"""Each defect of the table through index and convert: exact and in place, or refused for its reason."""

from collections import Counter

import numpy as np
import pytest
from defects import DEFECTS, REFUSED, Truth
from fuzz.pipeline import LABELS, Outcome, accept_all

FALLS_SHORT: dict[str, str] = {}
"""Defects that are not yet met as they should be, and what happens instead."""


def lies_there(outcome: Outcome, truth: Truth) -> bool:
    """Whether an accepted volume has the voxels of the truth, at its places."""
    if outcome.array.shape != truth.array.shape or not np.allclose(outcome.array, truth.array, rtol=1e-6, atol=1e-4):
        return False
    found = [outcome.grid.world((k, 0, 0)) for k in range(len(truth.array))]
    directions = np.array([*outcome.grid.axes[2], *outcome.grid.axes[1]])
    return bool(
        np.abs(np.subtract(found, truth.positions_mm)).max() < 0.03
        and np.abs(directions - truth.orientation).max() < 1e-6
        and np.allclose(outcome.grid.spacing_mm[1:], truth.spacing_yx_mm)
    )


@pytest.mark.parametrize("name", DEFECTS)
def test_each_defect_is_read_right_or_refused(name, tmp_path, request):
    if name in FALLS_SHORT:
        request.applymarker(pytest.mark.xfail(reason=FALLS_SHORT[name], strict=True))
    defect = DEFECTS[name]
    truths = defect.make(tmp_path / "source")
    labels = LABELS if defect.labelled else {**LABELS, "kind": "none"}
    found = accept_all(tmp_path / "source", labels=labels)
    words = [one.reason or "ok" for one in found.outcomes]
    if defect.ours == (REFUSED,):
        assert "ok" not in words
    else:
        assert sorted(words) == sorted(defect.ours)
    fates = Counter(row["fate"] for row in found.files.values())
    assert {fate: fates[fate] for fate in defect.fates} == dict(defect.fates)
    assert all(row["fate"] for row in found.files.values())
    for outcome in found.outcomes:
        if outcome.reason is None:
            (truth,) = [truth for truth in truths if lies_there(outcome, truth)]
            if defect.labelled:
                np.testing.assert_array_equal(outcome.label, truth.label)
