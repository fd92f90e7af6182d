"""In which ways a new case lies outside what a frozen plan saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Fingerprint: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Property:
    """A number of a case that may lie outside the range seen: by more than shares of the limits and of the range."""

    value: Callable[[Fingerprint], float | None]
    slack: float
    slack_of_range: float = 0.0
    cohort_units: bool = False


def _along(key: str, axis: int) -> Callable[[Fingerprint], float | None]:
    return lambda fingerprint: float(fingerprint[key][axis])


def _extent(axis: int) -> Callable[[Fingerprint], float | None]:
    return lambda fingerprint: float(fingerprint["shape"][axis] * fingerprint["spacing_mm"][axis])


def _intensity(group: str, number: str) -> Callable[[Fingerprint], float | None]:
    return lambda fingerprint: (fingerprint["intensity"][group] or {}).get(number)


def _foreground_ml(fingerprint: Fingerprint) -> float | None:
    volumes = (fingerprint["volume_ml"] or [0.0])[1:]
    return sum(volumes) or None


PROPERTIES: dict[str, Property] = {
    **{f"spacing along {axis} (mm)": Property(_along("spacing_mm", i), 0.05) for i, axis in enumerate("zyx")},
    **{f"extent along {axis} (mm)": Property(_extent(i), 0.25) for i, axis in enumerate("zyx")},
    "median intensity": Property(_intensity("whole", "p50"), 0.1, 0.5, cohort_units=True),
    "intensity percentile 99.5": Property(_intensity("whole", "p99_5"), 0.1, 0.5, cohort_units=True),
    "median foreground intensity": Property(_intensity("foreground", "p50"), 0.1, 0.5, cohort_units=True),
    "foreground volume (ml)": Property(_foreground_ml, 0.5, 0.5),
}


def seen_ranges(fingerprints: Sequence[Fingerprint]) -> dict[str, list[float] | None]:
    """Smallest and largest value of each of `PROPERTIES`; None where no case has one."""
    ranges: dict[str, list[float] | None] = {}
    for name, property_ in PROPERTIES.items():
        values = [value for value in map(property_.value, fingerprints) if value is not None]
        ranges[name] = [min(values), max(values)] if values else None
    return ranges


def drift(plan: Mapping[str, Any], fingerprint: Fingerprint) -> list[str]:
    """In which ways a case lies outside what the plan saw; one sentence each, none for a familiar case.

    Intensities are compared only where the normalisation uses the cohort's numbers.
    """
    found = []
    for name, property_ in PROPERTIES.items():
        limits = plan["seen"]["ranges"][name]
        value = property_.value(fingerprint)
        if limits is None or value is None or (property_.cohort_units and plan["normalisation"]["group"] is not None):
            continue
        low, high = limits
        slack = property_.slack_of_range * (high - low)
        if not low - property_.slack * abs(low) - slack <= value <= high + property_.slack * abs(high) + slack:
            found.append(f"{name} is {value:.4g}; the plan saw {low:.4g} to {high:.4g}")
    for value, voxels in enumerate(fingerprint["voxels"] or []):
        if voxels and value > 0 and value not in plan["seen"]["classes"]:
            found.append(f"class {value} is present; no case that the plan saw had it")
    return found
