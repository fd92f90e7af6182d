"""docs/methods.md is what the tables say."""

import re
from pathlib import Path

from cohortseg.cli.methods import NOT_DONE, STEPS, TABLES, methods_page
from cohortseg.methods import METHODS

ROOT = Path(__file__).parents[2]


def test_the_page_is_fresh():
    fresh = methods_page() == (ROOT / "docs" / "methods.md").read_text()
    assert fresh, "docs/methods.md is not what the tables say; run `cohortseg methods --write docs`"


def test_every_entry_of_every_table_stands_on_the_page_with_its_source():
    from importlib import import_module

    page = methods_page()
    for table in TABLES:
        for name, entry in getattr(import_module(table.module), table.name).items():
            line = next(line for line in page.splitlines() if line.startswith(f"| `{name}` |"))
            assert line.count("|") == 9, name
            assert entry.source


def test_tests_that_are_named_exist():
    for path in re.findall(r"`(tests/[^`]+)`", methods_page()):
        assert "def test_" in (ROOT / path).read_text(), path


def test_a_row_is_either_done_or_not():
    done = {row for entry in METHODS.values() for row in entry.rows} | set(STEPS)
    assert not done & set(NOT_DONE)
    classical = {f"C{number:02}" for number in range(1, 29)}
    assert classical <= done | set(NOT_DONE)
