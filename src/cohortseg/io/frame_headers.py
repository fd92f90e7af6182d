"""What the functional groups of a multi-frame object say of each frame, as the records of single slices say it.

DICOM PS3.3 C.7.6.16 (functional groups), C.8.13 (enhanced MR), C.8.15 (enhanced CT), C.8.22 (enhanced PET) and
C.7.6.16.2.25 to 26 (what a conversion from single slices left unassigned).
"""

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from cohortseg.io.elements import (
    double,
    doubles,
    elements_of,
    items,
    lenient,
    lone,
    long,
    longs,
    read,
    real,
    reals,
    short,
    single,
    text,
)
from cohortseg.slices import is_plane_image

Record: TypeAlias = dict[str, Any]
Reader: TypeAlias = Callable[[Any], Any]
Fields: TypeAlias = Mapping[str, tuple[int, Reader]]

SHARED, PER_FRAME = 0x52009229, 0x52009230
CONVERTED = (0x00209170, 0x00209171)
"""Attributes of the single slices a legacy converted object was made from: shared, and of each frame."""
REAL_WORLD = 0x00409096
MOST_FRAMES = 100_000
"""An object that claims more frames is taken to be broken: nothing is made for each of them."""

_FRAME_TYPE: Fields = {"image_type": (0x00089007, text), "complex_component": (0x00089208, text)}
GROUPS: dict[int, Fields] = {
    0x00209113: {"position": (0x00200032, reals)},
    0x00209116: {"orientation": (0x00200037, reals)},
    0x0020930E: {"position": (0x00209301, doubles)},
    0x0020930F: {"orientation": (0x00209302, doubles)},
    0x00289110: {
        "pixel_spacing_mm": (0x00280030, reals),
        "slice_thickness_mm": (0x00180050, real),
        "slice_spacing_mm": (0x00180088, real),
    },
    0x00289145: {"slope": (0x00281053, lone), "intercept": (0x00281052, lone), "rescale_type": (0x00281054, text)},
    REAL_WORLD: {"real_world_slope": (0x00409225, double), "real_world_intercept": (0x00409224, double)},
    0x00209111: {
        "temporal_position": (0x00209128, long),
        "stack": (0x00209056, text),
        "in_stack_position": (0x00209057, long),
        "dimension_index": (0x00209157, longs),
        "acquisition_number": (0x00209156, short),
        "acquisition_datetime": (0x00189074, text),
    },
    0x00189114: {"te_ms": (0x00189082, double)},
    0x00189112: {"tr_ms": (0x00180080, real), "flip_angle_deg": (0x00181314, real)},
    0x00189117: {"b_value": (0x00189087, double)},
    0x00189118: {"trigger_ms": (0x00209153, double), "cardiac_phase": (0x00209241, single)},
    0x00189325: {"kvp": (0x00180060, real)},
    0x00189314: {"kernel": (0x00181210, text)},
    **dict.fromkeys((0x00189226, 0x00189329, 0x00189751, 0x00189806, 0x00189504, 0x00409092, 0x00189412), _FRAME_TYPE),
}
"""Sequences of one item that describe a frame, and what is read of them."""
INNER: dict[int, tuple[int, Fields]] = {
    0x00189117: (0x00189076, {"gradient": (0x00189089, doubles)}),
    REAL_WORLD: (0x004008EA, {"quantity_units": (0x00080100, text)}),
}
"""Sequences within these."""
STRICT = frozenset(("position", "orientation", "pixel_spacing_mm", "slope", "intercept"))
"""A value that is no number breaks the header."""

PET_UNITS: dict[str, Record] = {
    "Bq/ml": {"units": "BQML"},
    "{SUVbw}g/ml": {"units": "GML", "suv_type": "BW"},
    "{SUVlbm}g/ml": {"units": "GML", "suv_type": "LBM"},
    "{SUVlbm(Janma)}g/ml": {"units": "GML", "suv_type": "LBMJANMA"},
    "{SUVbsa}cm2/ml": {"units": "CM2ML", "suv_type": "BSA"},
}
"""Units of real-world values (UCUM; DICOM PS3.16 CID 85) in the words of classic PET (PS3.3 C.8.9.1.1.3)."""


def with_frames(header: Any, record: Record, converted: Fields) -> Record:
    """The record of an image, completed by its functional groups.

    Parameters
    ----------
    header : pydicom data set
        Holding the two sequences of functional groups where the object has them.
    record : dict
        What was read outside of them; `n_frames` is at least 1.
    converted : dict
        Key, tag and reader of what a legacy converted object may hold unassigned.

    Returns
    -------
    dict
        What all frames share stands in the record itself; `frames` holds one dict for each frame with the rest. An
        object of one frame has no `frames`. Neither has one that does not say where its frames lie, unless they are
        plain pictures (`slices.is_plane_image`): those are empty dicts where nothing is said of them.

    Raises
    ------
    ValueError
        When a position, orientation, spacing or rescale factor is no number.
    """
    n_frames = record["n_frames"]
    frames = _frames(header, n_frames, converted)
    if not frames:
        plain = 1 < n_frames <= MOST_FRAMES and is_plane_image(record)
        return record | {"frames": [{} for _ in range(n_frames)]} if plain else record
    for frame in frames:
        _settle(frame, record)
    shared = {key: value for key, value in frames[0].items() if all(frame.get(key) == value for frame in frames)}
    record = record | shared
    if n_frames == 1:
        return record
    record["frames"] = [{key: value for key, value in frame.items() if key not in shared} for frame in frames]
    placed = all(any(key in frame for frame in frames) for key in ("position", "orientation"))
    if not placed and not is_plane_image(record):
        del record["frames"]
    return record


def _frames(header: Any, n_frames: int, converted: Fields) -> list[Record]:
    """What is said of each frame; nothing when groups and number of frames do not agree."""
    shared, own = items(header, SHARED), items(header, PER_FRAME)
    if not (shared or own) or n_frames > MOST_FRAMES or (own and len(own) != n_frames):
        return []
    for_all = _group(shared[0], converted) if shared else {}
    return [for_all | _group(item, converted) for item in own] or [dict(for_all) for _ in range(n_frames)]


def _group(item: Any, converted: Fields) -> Record:
    found: Record = {}
    left: Record = {}
    for tag in list(item.keys()):
        number = int(tag)
        if number in GROUPS:
            for inner in items(item, number)[:1]:
                found |= _fields(inner, GROUPS[number])
                if number in INNER:
                    below, fields = INNER[number]
                    for one in items(inner, below)[:1]:
                        found |= _fields(one, fields)
        elif number in CONVERTED:
            for inner in items(item, number)[:1]:
                left |= _fields(inner, converted)
    return left | found


def _fields(dataset: Any, fields: Fields) -> Record:
    elements = elements_of(dataset)
    found = {key: (read if key in STRICT else lenient)(elements, *field) for key, field in fields.items()}
    return {key: value for key, value in found.items() if value is not None}


def _settle(frame: Record, record: Mapping[str, Any]) -> None:
    """Say in the words of single slices what multi-frame objects say in others."""
    moment = str(frame.get("acquisition_datetime") or "")
    if len(moment) > 8:
        frame |= {"acquisition_date": moment[:8], "acquisition_time": moment[8:]}
    slope, intercept = frame.pop("real_world_slope", None), frame.pop("real_world_intercept", None)
    if record.get("modality") != "PT" or slope is None:
        return
    if frame.get("slope") is None and record.get("slope") is None:
        frame |= {"slope": slope, "intercept": intercept or 0.0}
    # Units of real-world values are those of the rescaled ones only where both are the same.
    rescaled = [frame.get(key, record.get(key)) for key in ("slope", "intercept", "units")]
    if rescaled == [slope, intercept or 0.0, None]:
        frame |= PET_UNITS.get(str(frame.get("quantity_units")), {})
