"""In which ways a new case lies outside what a frozen plan saw."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Fingerprint: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True)
class Property:
    """A number of a case that may lie outside the range seen: by more than shares of the limits and of the range.

    An intensity names its channel; it is compared only where the normalisation uses the cohort's numbers.
    """

    value: Callable[[Fingerprint], float | None]
    slack: float
    slack_of_range: float = 0.0
    channel: str | None = None


def _along(key: str, axis: int) -> Callable[[Fingerprint], float | None]:
    return lambda fingerprint: float(fingerprint[key][axis])


def _extent(axis: int) -> Callable[[Fingerprint], float | None]:
    return lambda fingerprint: float(fingerprint["shape"][axis] * fingerprint["spacing_mm"][axis])


def _intensity(channel: str, group: str, number: str) -> Callable[[Fingerprint], float | None]:
    def value(fingerprint: Fingerprint) -> float | None:
        found = fingerprint["channels"][channel]
        return None if found is None else (found["intensity"][group] or {}).get(number)

    return value


def _foreground_ml(fingerprint: Fingerprint) -> float | None:
    volumes = (fingerprint["volume_ml"] or [0.0])[1:]
    return sum(volumes) or None


GEOMETRY: dict[str, Property] = {
    **{f"spacing along {axis} (mm)": Property(_along("spacing_mm", i), 0.05) for i, axis in enumerate("zyx")},
    **{f"extent along {axis} (mm)": Property(_extent(i), 0.25) for i, axis in enumerate("zyx")},
    "foreground volume (ml)": Property(_foreground_ml, 0.5, 0.5),
}
INTENSITIES: dict[str, tuple[str, str]] = {
    "median intensity": ("whole", "p50"),
    "intensity percentile 99.5": ("whole", "p99_5"),
    "median foreground intensity": ("foreground", "p50"),
}
"""Name: group and number of the fingerprint."""


def properties(channels: Sequence[str]) -> dict[str, Property]:
    """What is compared, by name; of several channels the name says which."""
    found = dict(GEOMETRY)
    for channel in channels:
        suffix = f" of {channel}" if len(channels) > 1 else ""
        for name, (group, number) in INTENSITIES.items():
            found[f"{name}{suffix}"] = Property(_intensity(channel, group, number), 0.1, 0.5, channel)
    return found


def seen_ranges(fingerprints: Sequence[Fingerprint], channels: Sequence[str]) -> dict[str, list[float] | None]:
    """Smallest and largest value of each of `properties`; None where no case has one."""
    ranges: dict[str, list[float] | None] = {}
    for name, property_ in properties(channels).items():
        values = [value for value in map(property_.value, fingerprints) if value is not None]
        ranges[name] = [min(values), max(values)] if values else None
    return ranges


def drift(plan: Mapping[str, Any], fingerprint: Fingerprint) -> list[str]:
    """In which ways a case lies outside what the plan saw; one sentence each, none for a familiar case.

    Intensities are compared only where the normalisation uses the cohort's numbers.
    """
    found = []
    for name, property_ in properties(plan["channels"]).items():
        limits = plan["seen"]["ranges"][name]
        value = property_.value(fingerprint)
        if limits is None or value is None or not _comparable(plan, property_.channel):
            continue
        low, high = limits
        slack = property_.slack_of_range * (high - low)
        if not low - property_.slack * abs(low) - slack <= value <= high + property_.slack * abs(high) + slack:
            found.append(f"{name} is {value:.4g}; the plan saw {low:.4g} to {high:.4g}")
    for value, voxels in enumerate(fingerprint["voxels"] or []):
        if voxels and value > 0 and value not in plan["seen"]["classes"]:
            found.append(f"class {value} is present; no case that the plan saw had it")
    return found


def _comparable(plan: Mapping[str, Any], channel: str | None) -> bool:
    """Whether a number is in units that all cases share."""
    return channel is None or plan["normalisation"][channel]["group"] is None
