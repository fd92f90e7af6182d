"""The tables of `docs/metrics.md` from the data dictionary: `python -m cohortseg.metrics.docs docs/metrics.md`."""

import sys
from pathlib import Path

from cohortseg.metrics.columns import COLUMNS, Column
from cohortseg.metrics.dictionary import DIRECTIONS, TABLES

BEGIN, END = "<!-- made from the data dictionary: begin -->", "<!-- end -->"


def generated() -> str:
    """Both tables as Markdown: the metrics of a case, and the tables of results."""
    lines = ["| metric | unit | definition | better | source |", "|---|---|---|---|---|"]
    lines += [_line(name, column) for name, column in COLUMNS.items()]
    lines += ["", "| table | what it holds |", "|---|---|"]
    lines += [f"| `tables/{name}.csv` | {table.description} |" for name, table in TABLES.items()]
    return "\n".join(lines)


def _line(name: str, column: Column) -> str:
    definition = column.definition.replace("|", "\\|")
    better = DIRECTIONS[column.higher_is_better]
    return f"| `{name}` | {column.unit} | {definition} | {better} | {column.source} |"


def fresh(text: str) -> str:
    """The text with the tables between its marks made anew.

    Raises
    ------
    ValueError
        When a mark is missing.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{generated()}\n\n{END}{after}"


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(fresh(page.read_text()))
