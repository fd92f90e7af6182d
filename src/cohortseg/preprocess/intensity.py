"""Intensity normalisations: pointwise functions whose numbers are given, so that a block is treated as the whole.

The numbers come from the plan (cohort) or from the case's fingerprint; nothing is measured on the block itself.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from cohortseg.choose import choose
from cohortseg.errors import SettingsError
from cohortseg.volume import Array

Normaliser: TypeAlias = Callable[[Array], Array]
"""Array of intensities, any shape -> float32 array of the same shape."""


@dataclass(frozen=True)
class Normalisation:
    """One entry of the table.

    Parameters
    ----------
    build : callable
        Makes the pointwise function from the numbers.
    needs : tuple of str
        Names of the numbers.
    per_case : bool
        The numbers are the case's own (fingerprint), not the cohort's (plan).
    source : str
        Where the definition comes from.
    """

    build: Callable[..., Normaliser]
    needs: tuple[str, ...]
    per_case: bool
    source: str


def clip_and_standardise(*, low: float, high: float, mean: float, sd: float) -> Normaliser:
    """Clip to [low, high], subtract the mean, divide by the standard deviation."""
    _check_order(low, high)
    _check_sd(sd)
    offset, scale = np.float32(mean), np.float32(sd)

    def apply(intensities: Array) -> Array:
        out = intensities.astype(np.float32)
        np.clip(out, np.float32(low), np.float32(high), out=out)
        out -= offset
        out /= scale
        return out

    return apply


def standardise(*, mean: float, sd: float) -> Normaliser:
    """Subtract the mean, divide by the standard deviation."""
    _check_sd(sd)
    offset, scale = np.float32(mean), np.float32(sd)

    def apply(intensities: Array) -> Array:
        out = intensities.astype(np.float32)
        out -= offset
        out /= scale
        return out

    return apply


def stretch(*, low: float, high: float) -> Normaliser:
    """Clip to [low, high] and map that range to [0, 1]."""
    _check_order(low, high)
    return clip_and_standardise(low=low, high=high, mean=low, sd=high - low)


def unchanged() -> Normaliser:
    """Intensities as they are, as float32."""
    return lambda intensities: intensities.astype(np.float32)


NORMALISATIONS: dict[str, Normalisation] = {
    "window": Normalisation(
        clip_and_standardise, ("low", "high", "mean", "sd"), False, "clinical window; z-score of the cohort inside it"
    ),
    "ct": Normalisation(
        clip_and_standardise,
        ("low", "high", "mean", "sd"),
        False,
        "Isensee et al. 2021 (nnU-Net): cohort foreground percentiles 0.5 and 99.5, cohort mean and sd",
    ),
    "zscore": Normalisation(standardise, ("mean", "sd"), True, "z-score of the case"),
    "percentile": Normalisation(stretch, ("low", "high"), True, "percentiles 0.5 and 99.5 of the case to 0 and 1"),
    "none": Normalisation(unchanged, (), False, "no change"),
}


def normaliser(name: str, numbers: Mapping[str, float]) -> Normaliser:
    """The pointwise function of a normalisation.

    Parameters
    ----------
    name : str
        A key of `NORMALISATIONS`.
    numbers : mapping
        Exactly the numbers that it needs: low, high, mean, sd in image units.

    Returns
    -------
    callable
        Array of any type and shape -> new float32 array.

    Raises
    ------
    SettingsError
        For an unknown name, missing or surplus numbers, low >= high or sd <= 0.
    """
    entry = choose("normalisation", name, NORMALISATIONS)
    if set(numbers) != set(entry.needs):
        raise SettingsError(f"normalisation {name!r} needs {list(entry.needs)}, got {sorted(numbers)}")
    return entry.build(**numbers)


def _check_order(low: float, high: float) -> None:
    if not low < high:
        raise SettingsError(f"low must be below high, got {low} and {high}")


def _check_sd(sd: float) -> None:
    if not sd > 0:
        raise SettingsError(f"sd must be positive, got {sd}")
