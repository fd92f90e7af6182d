"""The plan: model space, normalisation of each channel and network size, decided from the fingerprints.

It is written like a page: every decision stands beside its reason. A plan is made once and frozen; new cases are
compared with what it saw (drift.py), they do not change it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.preprocess.context import with_context
from cohortseg.preprocess.drift import Fingerprint, seen_ranges
from cohortseg.preprocess.intensity import NORMALISATIONS, normaliser
from cohortseg.preprocess.low_resolution import low_resolution
from cohortseg.preprocess.patch import Geometry, plan_network
from cohortseg.volume import Triple

VERSION = 3
"""Of what a plan holds."""
ANISOTROPIC = 3.0
"""Coarsest over finest median spacing above which the coarse axis is planned finer than its median (nnU-Net)."""
ZERO_SHARE = 0.25
"""Share of voxels that are exactly 0 above which they are taken for empty background (nnU-Net's crop rule)."""
PICTURES = frozenset({"US", "SM", "GM", "XC", "ES"})
"""Modalities of 8-bit pictures (ultrasound, microscopy, photographs, endoscopy): there 0 is a shade like any other."""
ABSOLUTE = ("ct", "window")
"""Normalisations for absolute units; of several channels they go to those of CT."""
GROUPS = {"whole": "all voxels", "nonzero": "voxels other than 0", "foreground": "the labelled voxels"}


@dataclass(frozen=True)
class Means:
    """What a device can do in the time that people give it.

    Parameters
    ----------
    patch_voxels : int
        Voxels of a patch where the settings name none.
    step_voxels : int
        Voxels that one step sees, about: decides the batch.
    features : int
        Channels at full resolution.
    """

    patch_voxels: int
    step_voxels: int
    features: int


MEANS: dict[str, dict[int, Means]] = {
    "cpu": {2: Means(16_384, 100_000, 16), 3: Means(110_592, 200_000, 16)},
    "gpu": {2: Means(262_144, 4_000_000, 32), 3: Means(2_097_152, 4_000_000, 32)},
}
"""By device and dimensions of the network. Edges of a patch: 128 and 512 in 2D, 48 and 128 in 3D. In 2D a CPU
learns more from many coarse pictures than from few fine ones (benchmarks/RESULTS.md: fetal head)."""


def make_plan(  # noqa: PLR0913 (all but one are named options)
    fingerprints: Sequence[Fingerprint],
    *,
    cases: Sequence[str],
    dims: int,
    modalities: Mapping[str, str],
    spacing_mm: Triple | None = None,
    normalisation: str = "auto",
    window_hu: tuple[float, float] | None = None,
    device: str = "cpu",
    patch_voxels: int | None = None,
    base_features: int | None = None,
    low_spacing_mm: Triple | None = None,
) -> dict[str, Any]:
    """Decide model space, normalisation and network size for a cohort.

    The order of the cases plays no part: all numbers are medians, ranges or means over cases that count the same.

    Parameters
    ----------
    fingerprints : sequence of dict
        From `fingerprint.case_fingerprint`, at least one.
    cases : sequence of str
        Their names, in the same order.
    dims : {2, 3}
        Networks for planes (y, x) or for volumes (z, y, x).
    modalities : mapping of str to str
        Channel name to DICOM modality (CT, MR, PT, …), in the order of the channels.
    spacing_mm : (float, float, float), optional
        Voxel size (z, y, x) in model space; decided here when left out.
    normalisation : str
        'auto' or a key of `intensity.NORMALISATIONS`, for all channels; but 'ct' and 'window' leave out channels that
        are no CT beside one that is.
    window_hu : (float, float), optional
        Clip to this range; normalisation 'window'.
    device : {'cpu', 'gpu'}
        What the plan is made for.
    patch_voxels : int, optional
        Upper bound of the voxels in a training patch; by the device when left out.
    base_features : int, optional
        Channels at full resolution.
    low_spacing_mm : (float, float, float), optional
        Voxel size of the low resolution; by the rule when left out.

    Returns
    -------
    dict
        Ready for JSON; floats have six digits. ``spacing_mm``, ``shape``, ``patch``, ``batch``, ``network`` and, for
        each channel, ``normalisation`` hold a value and ``because``; ``channels`` the names in order, ``modality`` that
        of each; ``seen`` the cases and the ranges of their properties. Per-axis values of patch and network have `dims`
        entries.
        In 2D ``spacing_mm`` begins with None: see `model_spacing`. In 3D ``low_resolution`` says which share of the
        usual case a patch holds and what follows; where a low resolution is of use it has spacing, shape, patch,
        network and batch of its own.

    Raises
    ------
    SettingsError
        Without a case or with a channel that no case has, for settings that contradict each other, and for volumetric
        networks of single slices.
    """
    if not fingerprints:
        raise SettingsError("a plan needs at least one usable case")
    if dims not in (2, 3) or len(cases) != len(fingerprints):
        raise ValueError(f"dims must be 2 or 3, got {dims}; {len(cases)} names for {len(fingerprints)} fingerprints")
    means = choose("device", device, MEANS)[dims]
    budget = patch_voxels or means.patch_voxels
    spacing = _spacing(fingerprints, dims, spacing_mm)
    if spacing_mm is None:
        spacing = with_context(spacing, fingerprints, dims, budget)
    shape = _shape(fingerprints, spacing["value"])
    usual_mm = model_spacing({"spacing_mm": spacing}, _median(fingerprints, "spacing_mm"))
    features = base_features or means.features
    geometry = plan_network(
        usual_mm[3 - dims :], tuple(shape["value"][3 - dims :]), patch_voxels=budget, base_features=features
    )
    if dims == 3 and geometry.patch[0] == 1:
        raise SettingsError("plan.dims: 3 needs volumes, but a patch of these images is a single slice; set it to 2")
    plan = {
        "version": VERSION,
        "dims": dims,
        "device": device,
        "channels": list(modalities),
        "modality": dict(modalities),
        "spacing_mm": spacing,
        "shape": shape,
        "normalisation": _normalisations(fingerprints, modalities, normalisation, window_hu),
        **_network(geometry, budget, features),
        "batch": _batch(geometry, means.step_voxels, device),
        "seen": _seen(fingerprints, cases, list(modalities)),
    }
    if dims == 3:
        plan["low_resolution"] = low_resolution(
            usual_mm,
            (shape["value"][0], shape["value"][1], shape["value"][2]),
            geometry.patch,
            plan=lambda mm, size: plan_network(mm, size, patch_voxels=budget, base_features=features),
            describe=lambda one: {**_network(one, budget, features), "batch": _batch(one, means.step_voxels, device)},
            wanted_mm=low_spacing_mm,
        )
    rounded: dict[str, Any] = _rounded(plan)
    return rounded


def model_spacing(plan: Mapping[str, Any], native_mm: Triple) -> Triple:
    """Voxel size (z, y, x) in model space: the plan's, or the case's own along an axis that the plan leaves alone."""
    z, y, x = (
        own if planned is None else float(planned)
        for planned, own in zip(plan["spacing_mm"]["value"], native_mm, strict=True)
    )
    return z, y, x


def normalisation_numbers(plan: Mapping[str, Any], fingerprint: Fingerprint, channel: str) -> dict[str, float]:
    """The numbers for `intensity.normaliser`: the plan's, or the case's own where the normalisation is per case.

    The case must have the channel. If it is of one single value it gets sd 1 (or a range of 1), and becomes 0
    everywhere.
    """
    chosen = plan["normalisation"][channel]
    if chosen["group"] is None:
        return dict(chosen["numbers"])
    intensity = fingerprint["channels"][channel]["intensity"]
    found = intensity[chosen["group"]] or intensity["whole"]
    if chosen["name"] == "zscore":
        return {"mean": found["mean"], "sd": found["sd"] or 1.0}
    low, high = found["p00_5"], found["p99_5"]
    return {"low": low, "high": high if high > low else low + 1.0}


def _spacing(fingerprints: Sequence[Fingerprint], dims: int, wanted: Triple | None) -> dict[str, Any]:
    if wanted is not None:
        return {"value": list(wanted), "because": "the settings say so"}
    median = _median(fingerprints, "spacing_mm")
    if dims == 2:
        why = "median in plane; between planes each case keeps its own, for a network of planes never looks across them"
        return {"value": [None, *median[1:]], "because": why}
    coarse = int(np.argmax(median))
    ratio = max(median) / min(median)
    if ratio <= ANISOTROPIC:
        return {"value": list(median), "because": f"median; the coarsest axis is {ratio:.2g} times the finest"}
    fine = float(np.percentile([f["spacing_mm"][coarse] for f in fingerprints], 10))
    others = max(size for axis, size in enumerate(median) if axis != coarse)
    value = [max(fine, others) if axis == coarse else size for axis, size in enumerate(median)]
    why = (
        f"median in the fine axes; along {'zyx'[coarse]} the 10th percentile, because its median {median[coarse]:.3g} "
        f"mm is {ratio:.2g} times the finest: cases with thin slices keep their detail (Isensee et al. 2021)"
    )
    return {"value": value, "because": why}


def _shape(fingerprints: Sequence[Fingerprint], spacing: Sequence[float | None]) -> dict[str, Any]:
    shapes = [
        [n if new is None else n * own / new for n, own, new in zip(f["shape"], f["spacing_mm"], spacing, strict=True)]
        for f in fingerprints
    ]
    median = [max(1, round(float(n))) for n in np.median(shapes, axis=0)]
    return {"value": median, "because": "median over cases after resampling"}


def _normalisations(
    fingerprints: Sequence[Fingerprint],
    modalities: Mapping[str, str],
    wanted: str,
    window_hu: tuple[float, float] | None,
) -> dict[str, Any]:
    """How each channel is normalised, from the cases that have it."""
    if wanted != "auto":
        choose("normalisation", wanted, NORMALISATIONS)
    if window_hu is not None and wanted not in ("auto", "window"):
        raise SettingsError(f"window_hu goes with normalisation window, not {wanted}")
    if wanted == "window" and window_hu is None:
        raise SettingsError("normalisation window needs window_hu")
    is_absolute = window_hu is not None or wanted in ABSOLUTE
    chosen = {}
    for channel, modality in modalities.items():
        found = [f["channels"][channel] for f in fingerprints if f["channels"][channel] is not None]
        if not found:
            raise SettingsError(f"channel {channel!r}: none of the {len(fingerprints)} cases to plan for has it")
        left_out = is_absolute and modality != "CT" and "CT" in modalities.values()
        options = ("auto", None) if left_out else (wanted, window_hu)
        chosen[channel] = _normalisation(found, modality, *options)
    return chosen


def _normalisation(
    fingerprints: Sequence[Fingerprint], modality: str, wanted: str, window_hu: tuple[float, float] | None
) -> dict[str, Any]:
    """Name, numbers (cohort) or group (whose numbers of the case), and why; from fingerprints of one channel."""
    if window_hu is not None:
        chosen = _windowed(fingerprints, window_hu)
    elif wanted == "ct" or (wanted == "auto" and modality == "CT"):
        chosen = _from_foreground(fingerprints)
    elif wanted == "none":
        chosen = {"name": "none", "numbers": {}, "group": None, "because": "the settings say so"}
    else:
        chosen = _per_case(fingerprints, "zscore" if wanted == "auto" else wanted, modality)
    if chosen["group"] is None:
        normaliser(chosen["name"], chosen["numbers"])
    return chosen


def _windowed(fingerprints: Sequence[Fingerprint], window_hu: tuple[float, float]) -> dict[str, Any]:
    low, high = window_hu
    values, weights = _pooled(fingerprints, "whole")
    clipped = np.clip(values, low, high)
    mean = float(weights @ clipped)
    sd = float(np.sqrt(weights @ (clipped - mean) ** 2))
    numbers = {"low": low, "high": high, "mean": mean, "sd": sd or 1.0}
    why = "the settings give the window; mean and sd are those of all voxels inside it, each case counting the same"
    return {"name": "window", "numbers": numbers, "group": None, "because": why}


def _from_foreground(fingerprints: Sequence[Fingerprint]) -> dict[str, Any]:
    labelled = [f for f in fingerprints if f["intensity"]["foreground"]]
    group = "foreground" if labelled else "whole"
    values, weights = _pooled(labelled or fingerprints, group)
    below = np.cumsum(weights)
    low, high = (float(values[np.searchsorted(below, q)]) for q in (0.005, 0.995))
    mean = float(weights @ values)
    sd = float(np.sqrt(weights @ (values - mean) ** 2))
    numbers = {"low": low, "high": high if high > low else low + 1.0, "mean": mean, "sd": sd or 1.0}
    why = (
        f"absolute units: clipped to percentiles 0.5 and 99.5 of {GROUPS[group]} of "
        f"{len(labelled or fingerprints)} cases, then their mean and sd; each case counts the same"
    )
    return {"name": "ct", "numbers": numbers, "group": None, "because": why}


def _per_case(fingerprints: Sequence[Fingerprint], name: str, modality: str) -> dict[str, Any]:
    empty = float(np.median([f["zero_share"] for f in fingerprints]))
    group = "nonzero" if empty > ZERO_SHARE and modality != "CT" and modality not in PICTURES else "whole"
    why = f"numbers of each case, over {GROUPS[group]}: in the median {100 * empty:.0f} % of the voxels are exactly 0"
    if modality in PICTURES:
        why += ", which in a picture is a shade like any other"
    if name == "zscore" and modality == "PT":
        why += "; no clipping, for the hottest half percent of a PET is where the lesions are"
    return {"name": name, "numbers": {}, "group": group, "because": why}


def _pooled(fingerprints: Sequence[Fingerprint], group: str) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Sorted bin centres of all cases and their weights, which sum to 1; each case counts the same."""
    centres, weights = [], []
    for histogram in (f["histogram"][group] for f in fingerprints):
        counts = np.asarray(histogram["counts"], float)
        centres.append(histogram["lower"] + histogram["width"] * (np.arange(counts.size) + 0.5))
        weights.append(counts / counts.sum() / len(fingerprints))
    values, shares = np.concatenate(centres), np.concatenate(weights)
    order = np.lexsort((shares, values))
    return values[order], shares[order]


def _network(geometry: Geometry, patch_voxels: int, features: int) -> dict[str, Any]:
    levels = [{"features": n.features, "stride": list(n.stride), "kernel": list(n.kernel)} for n in geometry.levels]
    return {
        "patch": {
            "value": list(geometry.patch),
            "voxels": int(np.prod(geometry.patch)),
            "because": f"equal edges in mm, at most {patch_voxels} voxels, no larger than the usual image",
        },
        "network": {
            "levels": levels,
            "alignment": list(geometry.alignment),
            "because": "an axis is halved while it keeps 4 voxels and is not twice as coarse as the finest; "
            f"{features} channels at full resolution, doubled at each level",
        },
    }


def _batch(geometry: Geometry, step_voxels: int, device: str) -> dict[str, Any]:
    why = f"a step sees about {step_voxels} voxels on a {device}, and two patches at least"
    return {"value": max(2, step_voxels // math.prod(geometry.patch)), "because": why}


def _seen(fingerprints: Sequence[Fingerprint], cases: Sequence[str], channels: Sequence[str]) -> dict[str, Any]:
    classes = {value for f in fingerprints for value, n in enumerate(f["voxels"] or []) if n and value > 0}
    return {
        "cases": sorted(cases),
        "n_cases": len(cases),
        "n_with_foreground": sum(any((f["voxels"] or [])[1:]) for f in fingerprints),
        "classes": sorted(classes),
        "ranges": seen_ranges(fingerprints, channels),
    }


def _median(fingerprints: Sequence[Fingerprint], key: str) -> Triple:
    z, y, x = np.median([f[key] for f in fingerprints], axis=0)
    return float(z), float(y), float(x)


def _rounded(value: Any) -> Any:
    """The same structure with floats of six significant digits."""
    if isinstance(value, dict):
        return {key: _rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
