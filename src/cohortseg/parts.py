"""From the slices of one series to the volumes it holds: phases, echoes, b-values. Pure numbers."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.slices import SAME_PLACE_MM

Slices: TypeAlias = Sequence[Mapping[str, Any]]
Integers: TypeAlias = npt.NDArray[np.int64]

TAGS = {
    "temporal_position": "t",
    "acquisition_number": "acq",
    "te_ms": "te",
    "echo_number": "echo",
    "b_value": "b",
    "gradient": "dir",
    "trigger_ms": "trigger",
    "cardiac_phase": "phase",
    "image_type": "",
    "complex_component": "",
    "stack": "stack",
    "acquisition_time": "time",
    "content_time": "time",
    "frame_reference_ms": "ref",
}
"""What may tell the volumes of a series apart, in the order it is tried, and how it begins in the name of a part."""
ORDINALS = ("gradient", "acquisition_time", "content_time")
"""Named by their rank: a direction is no word, and a time of day is identity."""
RANKED = {"trigger_ms": "phase", "acquisition_time": "time", "content_time": "time", "instance_number": "repeat"}
"""What differs from slice to slice within one volume too, but puts the slices of one place into an order."""
MOST_TOGETHER = 3
"""So many tags at once may be needed: an echo, a component and a time."""

COSINE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Part:
    """One volume of a series.

    Parameters
    ----------
    name : str
        Safe in paths ([a-z0-9-]); empty when the series is one volume.
    by : str
        What tells the parts apart: a key of `TAGS`, several joined by '+', or 'repeat'; empty when there is one part.
    members : tuple of int
        Places in the list of slices, ascending.
    """

    name: str
    by: str
    members: tuple[int, ...]


def parts_of(slices: Slices) -> list[Part]:
    """Split the slices of one series into volumes where several lie at one place.

    A tag, or up to three together, splits them when no place repeats within a group, at least two groups are complete,
    and every other one (an interrupted phase) covers a share of the same places. Where no tag does, slices are counted
    at each place, in the order of trigger time, time or instance number.

    Parameters
    ----------
    slices : sequence of dict
        Flat records (`slices_of`) of one series, in any order.

    Returns
    -------
    list of Part
        Ordered by value; together they hold each slice once. One part with an empty name when no place repeats, when
        a single slice is there twice, when orientations differ or a position lacks, and when nothing tells the
        volumes apart: what is wrong then is for the geometry to say. An empty list gives one empty part.
    """
    whole = [Part("", "", tuple(range(len(slices))))]
    places = _places(slices) if len(slices) > 2 else None
    if places is None or len(slices) - int(places.max()) - 1 < 2:
        return whole
    return _by_tags(slices, places) or _by_rank(slices, places) or whole


# ---- places ---------------------------------------------------------------------------------------------------------


def _places(slices: Slices) -> Integers | None:
    """Number of the place of each slice along the common normal, from 0; None when there is none."""
    written = [(one.get("position"), one.get("orientation")) for one in slices]
    if not all(position and orientation for position, orientation in written):
        return None
    try:
        positions = np.array([position for position, _ in written], dtype=np.float64)
        first = np.array(written[0][1], dtype=np.float64)
        if any(orientation != written[0][1] for _, orientation in written):
            turns = np.abs(np.array([orientation for _, orientation in written], dtype=np.float64) - first)
            if turns.max() > COSINE_TOLERANCE:
                return None
    except ValueError:
        return None
    if positions.shape != (len(slices), 3) or first.shape != (6,):
        return None
    along = positions @ np.cross(first[:3], first[3:])
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    apart = steps[steps > 0.02 * SAME_PLACE_MM]
    # Or a tenth of the usual distance (as in io/geometry.py).
    limit = min(SAME_PLACE_MM, 0.1 * float(np.median(apart))) if len(apart) else SAME_PLACE_MM
    places = np.zeros(len(slices), dtype=np.int64)
    places[order[1:]] = np.cumsum(steps > limit)
    return places


# ---- by the values of tags ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Tag:
    """The values of one tag over the slices: distinct ones, and which of them each slice has."""

    key: str
    values: list[Any]
    labels: Integers


def _by_tags(slices: Slices, places: Integers) -> list[Part]:
    tags: list[_Tag] = []
    for tag in _telling(slices, places):
        if _splits(tag.labels, len(tag.values), places):
            return _named([tag], tag.labels, len(tag.values))
        tags.append(tag)
    for together in range(2, MOST_TOGETHER + 1):
        for chosen in itertools.combinations(tags, together):
            labels = chosen[0].labels
            for tag in chosen[1:]:
                labels = labels * len(tag.values) + tag.labels
            kinds, labels = np.unique(labels, return_inverse=True)
            if _splits(labels, len(kinds), places):
                return _named(chosen, labels, len(kinds))
    return []


def _telling(slices: Slices, places: Integers) -> Iterator[_Tag]:
    """Tags with more than one value that are not as many as the slices, each way of splitting once."""
    seen: set[bytes] = set()
    for key in TAGS:
        numbers: dict[Any, int] = {}
        labels = np.array([numbers.setdefault(_plain(one.get(key)), len(numbers)) for one in slices], dtype=np.int64)
        split = labels.tobytes()
        if len(numbers) > 1 and not _too_many(len(numbers), places) and split not in seen:
            seen.add(split)
            yield _Tag(key, list(numbers), labels)


def _plain(value: Any) -> Any:
    """Something to compare and to sort by; hashable."""
    if isinstance(value, list):
        return tuple(round(float(number), 4) for number in value)
    return round(value, 3) if isinstance(value, float) else value


def _too_many(n_groups: int, places: Integers) -> bool:
    """Whether so many groups could not be about complete: four times as many slices would be needed."""
    return n_groups * (int(places.max()) + 1) > 4 * len(places)


def _splits(labels: Integers, n_groups: int, places: Integers) -> bool:
    if _too_many(n_groups, places):
        return False
    covered = np.zeros((n_groups, int(places.max()) + 1), dtype=bool)
    covered[labels, places] = True
    sizes = covered.sum(axis=1)
    repeats_nothing = int(sizes.sum()) == len(labels)
    # The largest group must cover every place: then the others lie within it.
    return bool(repeats_nothing and sizes.max() == covered.shape[1] and (sizes == sizes.max()).sum() > 1)


def _named(chosen: Sequence[_Tag], labels: Integers, n_groups: int) -> list[Part]:
    members = [np.flatnonzero(labels == group) for group in range(n_groups)]
    values = [tuple(tag.values[tag.labels[places[0]]] for tag in chosen) for places in members]
    words = [_words(tag) for tag in chosen]
    order = sorted(range(n_groups), key=lambda group: [_sortable(value) for value in values[group]])
    names = [
        "-".join(filter(None, (known[value] for known, value in zip(words, values[group], strict=True))))
        for group in order
    ]
    if len(set(names)) < len(names) or not all(names):
        names = [f"{name}-{number}".strip("-") for number, name in enumerate(names, start=1)]
    by = "+".join(tag.key for tag in chosen)
    return [
        Part(name, by, tuple(int(place) for place in members[group])) for name, group in zip(names, order, strict=True)
    ]


def _words(tag: _Tag) -> dict[Any, str]:
    """How each value of a tag is written in the name of a part."""
    ordered = sorted((value for value in tag.values if value is not None), key=_sortable)
    prefix = TAGS[tag.key]
    if tag.key in ORDINALS:
        return {None: ""} | {value: f"{prefix}{number}" for number, value in enumerate(ordered, start=1)}
    if any(isinstance(value, str) for value in ordered):
        lists = {value: str(value).split("\\") for value in ordered}
        common = set.intersection(*(set(words) for words in lists.values()))
        told = {value: "-".join(word for word in words if word not in common) for value, words in lists.items()}
        return {None: ""} | {value: prefix + _slug(text) for value, text in told.items()}
    return {None: ""} | {value: prefix + _slug(_number(value)) for value in ordered}


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else f"{value:.3f}".rstrip("0")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:32].strip("-")


def _sortable(value: Any) -> tuple[int, Any]:
    """None first, then numbers, then directions, then words."""
    if value is None:
        return 0, 0
    return (3, value) if isinstance(value, str) else (2, value) if isinstance(value, tuple) else (1, value)


# ---- by the order at each place -------------------------------------------------------------------------------------


def _by_rank(slices: Slices, places: Integers) -> list[Part]:
    n_places = int(places.max()) + 1
    counts = np.bincount(places)
    if (counts != counts[0]).any():
        return []
    for key, word in RANKED.items():
        values = [moment for one in slices if (moment := _moment(one, key)) is not None]
        if len(values) < len(slices):
            continue
        ranks = {value: rank for rank, value in enumerate(sorted(set(values)))}
        if key == "instance_number" and len(ranks) < len(slices):
            continue
        numbers = np.array([ranks[value] for value in values], dtype=np.int64)
        order = np.lexsort((numbers, places))
        table = numbers[order].reshape(n_places, -1)
        if (np.diff(table, axis=1) > 0).all():
            columns = np.sort(order.reshape(n_places, -1), axis=0).T
            by = "repeat" if key == "instance_number" else key
            return [
                Part(f"{word}{number}", by, tuple(int(place) for place in column))
                for number, column in enumerate(columns, start=1)
            ]
    return []


def _moment(one: Mapping[str, Any], key: str) -> tuple[Any, ...] | None:
    """What a slice is ordered by, or None when the slice does not say."""
    if one.get(key) is None:
        return None
    if key == "acquisition_time":
        return (one.get("acquisition_date") or "", one[key])
    # The frames of one file share its instance number.
    return (one[key], one.get("frame", 0)) if key == "instance_number" else (one[key],)
