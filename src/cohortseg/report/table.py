"""A table as the page shows it: columns, cells with their sort keys, a caption and a note."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cohortseg.report.numbers import UNDEFINED, as_float, is_number, number


@dataclass(frozen=True)
class Cell:
    """One cell.

    Parameters
    ----------
    text, note : str
        What it says; the note stands small beside or below.
    key : str
        Sort key; empty sorts last.
    is_strong : bool
        Whether to stress it.
    """

    text: str
    note: str = ""
    key: str = ""
    is_strong: bool = False


@dataclass(frozen=True)
class Column:
    """One column: its title, its unit, and whether it holds numbers (set right, sorted as numbers)."""

    title: str
    unit: str = ""
    is_number: bool = True


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first `n_heads` cells of each row are its headings.

    `is_prose` is for tables of sentences: they become cards on a narrow screen, where tables of numbers scroll.
    """

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""
    n_heads: int = 1
    is_sortable: bool = True
    is_prose: bool = False


def words(value: Any) -> Cell:
    """A cell of text; a dash for None, NaN and the empty text. Whole floats lose their decimals."""
    if isinstance(value, str):
        return Cell(value or UNDEFINED, key=value.casefold())
    if value is None or value != value:
        return Cell(UNDEFINED)
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return Cell(text, key=text.casefold())


def figure(value: Any, decimals: int = 2, *, note: str = "", is_strong: bool = False) -> Cell:
    """A cell of one number."""
    return Cell(number(value, decimals), note=note, key=sort_key(value), is_strong=is_strong)


def sort_key(value: Any) -> str:
    """The full number as text, as JavaScript reads it; empty when it is no number."""
    if math.isinf(as_float(value)):
        return "Infinity" if as_float(value) > 0 else "-Infinity"
    return repr(float(value)) if is_number(value) else ""


def headed(*titles: str, is_number: bool = False) -> tuple[Column, ...]:
    """Columns of text (or numbers) without unit."""
    return tuple(Column(title, is_number=is_number) for title in titles)


def rows_of(rows: Iterable[Iterable[Cell]]) -> tuple[tuple[Cell, ...], ...]:
    """Rows as the immutable thing a table wants."""
    return tuple(tuple(row) for row in rows)
