"""docs/rows.md: every published row has a line, and what the line points to exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
HOW_MANY = {"P": 36, "A": 32, "L": 14, "T": 15, "G": 11, "Q": 10, "C": 28, "K": 15, "M": 21, "R": 21}
STATUSES = ("done", "part", "not")


def lines() -> list[list[str]]:
    """The cells of each row: id, what, status, where, test, what was seen."""
    text = (ROOT / "docs" / "rows.md").read_text()
    return [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| [A-Z]\d\d \|", line)
    ]


def test_every_row_has_one_line_in_order():
    wanted = [f"{group}{number:02d}" for group, last in HOW_MANY.items() for number in range(1, last + 1)]
    assert [cells[0] for cells in lines()] == wanted


@pytest.mark.parametrize("cells", lines(), ids=lambda cells: cells[0])
def test_what_a_row_points_to_is_there(cells):
    name, what, status, where, test, seen = cells
    assert what, name
    assert status in STATUSES, name
    for path in re.findall(r"`([^`]+)`", where):
        assert (ROOT / path).is_file(), path
    for path, function in re.findall(r"`(tests/[^`]+)::([a-z0-9_]+)`", test):
        assert f"def test_{function}(" in (ROOT / path).read_text(), f"{path} has no test_{function}"
    if status == "done":
        assert "`src/" in where or "`workflow/" in where or "`benchmarks/" in where, f"{name} is nowhere"
        assert "::" in test, f"{name} has no test"
    if status != "done":
        assert len(seen) > 15, f"{name} does not say why"
