"""What the data dictionary is written with: a table, and columns of the usual kinds."""

import math
from typing import NamedTuple

from cohortseg.metrics.columns import Column


class Table(NamedTuple):
    """A table and its columns, in order."""

    description: str
    columns: dict[str, Column]


def text(definition: str) -> Column:
    """A column of words."""
    return Column("text", definition, None, None)


def count(definition: str) -> Column:
    """A number of things."""
    return Column("count", definition, (0.0, math.inf), None)


def share(definition: str, source: str = "") -> Column:
    """A number from 0 to 1 without a direction."""
    return Column("fraction", definition, (0.0, 1.0), None, source)


def metric(definition: str) -> Column:
    """A number in the unit of the metric that the row is about."""
    return Column("unit of the metric", definition, (-math.inf, math.inf), None)


def ml(definition: str, source: str = "") -> Column:
    """A volume or a difference of volumes."""
    return Column("ml", definition, (-math.inf, math.inf), None, source)


def number(unit: str, definition: str, low: float = -math.inf, high: float = math.inf, source: str = "") -> Column:
    """Another number."""
    return Column(unit, definition, (low, high), None, source)
