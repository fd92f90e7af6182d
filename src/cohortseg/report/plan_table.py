"""The frozen plan in words: what was decided, with units, and why."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from cohortseg.report.numbers import MINUS, UNDEFINED, counted, is_number, number, significant
from cohortseg.report.table import Cell, Table, headed, rows_of

MOST_LISTED = 12
"""Longer lists are cut: the plan itself has them all."""

Plan: TypeAlias = Mapping[str, Any]
Line: TypeAlias = tuple[str, str, str]
"""Decision, value, reason."""

AXES = " (z, y, x)"
UNITS = {"_mm": "mm", "_hu": "HU", "_ml": "ml", "_s": "s"}


def plan_table(plan: Plan) -> Table | None:
    """What was decided and why; None for an empty plan."""
    known = [key for key in KNOWN if key in plan]
    rest = {key: entry for key, entry in plan.items() if key not in KNOWN}
    lines = [line for key in known for line in KNOWN[key](plan)] + list(_decisions(rest, ""))
    if not lines:
        return None
    rows = rows_of([Cell(text) for text in line] for line in lines)
    return Table("The plan", headed("Decision", "Value", "Because"), rows, is_sortable=False, is_prose=True)


def _because(entry: Any) -> str:
    return str(entry.get("because") or UNDEFINED) if isinstance(entry, Mapping) else UNDEFINED


def _value(entry: Any) -> Any:
    return entry.get("value") if isinstance(entry, Mapping) else entry


def _spacing(plan: Plan) -> Iterator[Line]:
    entry = plan["spacing_mm"]
    sizes = [significant(size) if is_number(size) else "as it is" for size in _value(entry) or ()]
    yield f"Voxel size{AXES}", f"{' × '.join(sizes)} mm", _because(entry)


def _voxels(key: str, title: str) -> Callable[[Plan], Iterator[Line]]:
    def lines(plan: Plan) -> Iterator[Line]:
        sizes = _value(plan[key]) or ()
        axes = " (y, x)" if len(sizes) == 2 else AXES
        yield f"{title}{axes}", f"{_product(sizes)} voxels", _because(plan[key])

    return lines


def _product(sizes: Sequence[Any]) -> str:
    return " × ".join(number(size, 0) for size in sizes)


def _batch(plan: Plan) -> Iterator[Line]:
    entry = plan["batch"]
    yield "Batch", counted(_value(entry), "patch", "patches"), _because(entry)


def _network(plan: Plan) -> Iterator[Line]:
    entry = plan["network"]
    levels = _value(entry.get("levels"))
    if not levels or not all(isinstance(level, Mapping) for level in levels):
        yield from _decisions({"network": entry}, "")
        return
    features = ", ".join(number(level["features"], 0) for level in levels)
    strides = ", ".join("×".join(map(str, level["stride"])) for level in levels[1:])
    kernels = {"×".join(map(str, level["kernel"])) for level in levels}
    yield "Levels of the network", f"{len(levels)}, with {features} features", _because(entry)
    if strides:
        yield "Steps between levels", f"{strides} voxels", UNDEFINED
    yield "Kernels", ", ".join(sorted(kernels)), UNDEFINED
    if entry.get("alignment"):
        yield "Sizes are multiples of", f"{_product(entry['alignment'])} voxels", UNDEFINED


def _low_resolution(plan: Plan) -> Iterator[Line]:
    entry = plan["low_resolution"]
    if not isinstance(entry, Mapping) or "share" not in entry:
        yield from _decisions({"low_resolution": entry}, "")
        return
    yield "Share of the usual image in a patch", f"{significant(100 * entry['share'])} %", _because(entry)
    for key, lines in (("spacing_mm", _spacing), ("shape", KNOWN["shape"]), ("patch", KNOWN["patch"])):
        if key in entry:
            for title, value, reason in lines(entry):
                yield f"Low resolution: {title[0].lower()}{title[1:]}", value, reason


def _dims(plan: Plan) -> Iterator[Line]:
    entry = plan["dims"]
    yield "Patches", "planes (2D)" if entry == 2 else "volumes (3D)" if entry == 3 else _plain(entry), UNDEFINED


def _device(plan: Plan) -> Iterator[Line]:
    entry = plan["device"]
    yield "Made for", {"cpu": "a CPU", "gpu": "a GPU", "cuda": "a GPU"}.get(str(entry), str(entry)), UNDEFINED


def _modality(plan: Plan) -> Iterator[Line]:
    entry = plan["modality"]
    yield "Channels", ", ".join(f"{name} ({kind})" for name, kind in entry.items()), UNDEFINED


def _normalisation(plan: Plan) -> Iterator[Line]:
    entry = plan["normalisation"]
    for channel, chosen in entry.items():
        if not isinstance(chosen, Mapping) or "name" not in chosen:
            yield from _decisions({"normalisation": {channel: chosen}}, "")
            continue
        title = f"Intensities of {channel}" if len(entry) > 1 else "Intensities"
        unit = "HU" if (plan.get("modality") or {}).get(channel) == "CT" else ""
        yield title, normalisation_words(chosen, unit), _because(chosen)


GROUPS = {"whole": "all voxels", "nonzero": "voxels other than 0", "foreground": "labelled voxels"}


def normalisation_words(chosen: Mapping[str, Any], unit: str) -> str:
    """`clipped at −160 and 240 HU, then reduced by the mean (−68.4 HU) and divided by the SD (107 HU)`."""
    told = {key: f"{significant(value)} {unit}".strip() for key, value in (chosen.get("numbers") or {}).items()}
    if {"low", "high", "mean", "sd"} <= set(told):
        ends = f"{told['low'].removesuffix(f' {unit}')} and {told['high']}"
        return f"clipped at {ends}, then reduced by the mean ({told['mean']}) and divided by the SD ({told['sd']})"
    name = str(chosen.get("name", "as planned"))
    if told:
        return f"{name} ({', '.join(f'{key} {value}' for key, value in told.items())})"
    words = {"zscore": "reduced by the mean and divided by the SD", "none": "as they are"}.get(name, name)
    return f"{words} of {GROUPS.get(chosen['group'], chosen['group'])} of the case" if chosen.get("group") else words


def _seen(plan: Plan) -> Iterator[Line]:
    entry = plan["seen"]
    left = {k: v for k, v in entry.items() if k not in ("n_cases", "n_with_foreground", "cases", "classes", "ranges")}
    if "n_cases" in entry:
        labelled = entry.get("n_with_foreground")
        of = f", {number(labelled, 0)} of them with labelled voxels" if is_number(labelled) else ""
        yield "Made from", f"{counted(entry['n_cases'], 'case')}{of}", UNDEFINED
    for name, ends in (entry.get("ranges") or {}).items():
        if ends is None:  # of labelled voxels, where nothing was labelled
            continue
        unit = re.search(r" \((\w+)\)$", name)
        low, high = (significant(end) for end in ends)
        span = low if low == high else f"{low} to {high}" if MINUS in low + high else f"{low}–{high}"
        title = name[: unit.start()] if unit else name
        yield f"Seen: {title}", f"{span} {unit[1]}" if unit else span, UNDEFINED
    yield from _decisions({"seen": left} if left else {}, "")


def _version(plan: Plan) -> Iterator[Line]:
    entry = plan["version"]
    yield "Version of the format", _plain(entry), UNDEFINED


def _nothing(_: Plan) -> Iterator[Line]:
    """What another line says already."""
    yield from ()


KNOWN: dict[str, Callable[[Plan], Iterator[Line]]] = {
    "spacing_mm": _spacing,
    "shape": _voxels("shape", "Usual image"),
    "patch": _voxels("patch", "Patch"),
    "batch": _batch,
    "dims": _dims,
    "device": _device,
    "network": _network,
    "low_resolution": _low_resolution,
    "channels": _nothing,
    "modality": _modality,
    "normalisation": _normalisation,
    "seen": _seen,
    "version": _version,
}
"""Entry of the plan: its lines, in the order of the table. What is not here is listed after them as it stands."""


def _decisions(plan: Mapping[str, Any], prefix: str) -> Iterator[Line]:
    """Name, value and reason of everything in the plan, whatever its depth; plain entries have no reason."""
    for key, entry in plan.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping) and "value" in entry:
            yield _title(name), _with_unit(name, entry["value"]), _because(entry)
        elif isinstance(entry, Mapping) and entry:
            inner = _decisions({k: v for k, v in entry.items() if k != "because"}, f"{name}: ")
            for place, (what, value, reason) in enumerate(inner):
                yield what, value, _because(entry) if place == 0 and reason == UNDEFINED else reason
        elif entry is not None:
            yield _title(name), _with_unit(name, entry), UNDEFINED


def _title(name: str) -> str:
    for ending in UNITS:
        name = name.removesuffix(ending)
    words = name.replace("_", " ")
    return f"{words[:1].upper()}{words[1:]}"


def _with_unit(name: str, value: Any) -> str:
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    return f"{_plain(value)} {unit}".strip()


def _plain(value: Any) -> str:
    """A value of the plan in few characters: numbers lose their tail, lists and mappings their brackets."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return significant(value)
    if isinstance(value, list | tuple) and len(value) > MOST_LISTED:
        return f"{_plain(value[:3])}, … ({counted(len(value), 'entry', 'entries')})"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) if not isinstance(item, list | tuple) else f"({_plain(item)})" for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {_plain(item)}" for key, item in value.items())
    return value if isinstance(value, str) else json.dumps(value)
