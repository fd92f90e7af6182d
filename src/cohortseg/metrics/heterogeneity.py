"""How alike the scans of a cohort are: each property of the acquisition summed up, and the scans that differ from it.

Scans are compared within their modality (and channel, where a case has several): a PET series is no odd CT series.
What is flagged is worth a look and nothing more; no scan is left out for it.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

Floats = npt.NDArray[np.float64]

CATEGORICAL = (
    *("manufacturer", "model", "kernel", "body_part", "orientation", "contrast", "transfer_syntax"),
    *("lossy", "burned_in"),
)
"""Properties of few values; the rare ones differ."""
FLAGS = ("lossy", "burned_in")
"""Properties whose `yes` differs however often it occurs, as long as it is not what most scans say."""
NUMERIC = (
    *("slice_thickness_mm", "spacing_z_mm", "pixel_mm", "rows", "columns", "n_slices", "kvp", "exposure_mas"),
    *("te_ms", "tr_ms", "flip_angle_deg", "field_strength_t", "days"),
)
"""Properties that are measured. `spacing_z_mm` and `pixel_mm` (the larger of y and x) come from `spacing_mm`."""
NOT_JUDGED = ("days",)
"""Properties that are described only: the day of a follow-up is no fault of its acquisition."""

COLUMNS = (
    *("case", "subject", "channel", "part", "modality", "manufacturer", "model", "kernel", "slice_thickness_mm"),
    *("body_part", "orientation", "spacing_mm", "rows", "columns", "n_slices", "n_files", "kvp", "exposure_mas"),
    *("te_ms", "tr_ms", "flip_angle_deg", "field_strength_t", "contrast", "lossy", "burned_in", "days"),
    "transfer_syntax",
)
"""The columns of a table of series; all of them texts, empty when unknown."""

SUMMARY_COLUMNS = (
    *("modality", "channel", "property", "n", "n_known", "n_values", "most_common", "share"),
    *("min", "median", "max", "n_outliers"),
)

LARGEST_Z = 3.5
"""Beyond this modified z score a value differs (Iglewicz & Hoaglin 1993)."""
FEWEST_FOR_Z = 10
RARE_SHARE, FEWEST_FOR_RARE = 0.05, 20
FINEST_SHARE = 0.01
"""The scale of a property is at least this share of its median: rounding in a header is no difference."""
MAD_TO_SD, MEAN_AD_TO_SD = 1.4826, 1.2533
"""Standard deviation of a normal distribution over its median and its mean absolute deviation."""


def measure(series: pd.DataFrame) -> pd.DataFrame:
    """The table of series with all `COLUMNS` as texts, in their order, and `outlier` last.

    Parameters
    ----------
    series : DataFrame
        One row per series; missing columns count as unknown.

    Returns
    -------
    DataFrame
        The same rows in the same order. `outlier` names the properties in which the series differs from the others
        of its modality and channel, joined by `;`, empty where it differs in none:

        * a number whose modified z score exceeds 3.5, among at least 10 known values (see `modified_z`);
        * a value that less than 5 % of at least 20 known ones share;
        * `lossy` or `burned_in`, where it is `yes` in at most half of the known ones.

        An unknown value never differs. No rows: an empty table with the same columns.
    """
    table = _complete(series)
    found: list[list[str]] = [[] for _ in range(len(table))]
    for _, places in _groups(table):
        part = table.iloc[places]
        for name in (*NUMERIC, *CATEGORICAL):
            for place in np.asarray(places)[_differs(part, name)]:
                found[place].append(name)
    return table.assign(outlier=[";".join(names) for names in found])


def summarise_properties(measured: pd.DataFrame) -> pd.DataFrame:
    """One row per modality, channel and property that is known of at least one series.

    Parameters
    ----------
    measured : DataFrame
        From `measure`.

    Returns
    -------
    DataFrame
        `SUMMARY_COLUMNS`. `n` series, `n_known` with a value, `n_values` different ones, the `most_common` (the first
        in order of equals) and its `share` of the known ones; `min`, `median`, `max` of numbers, NaN for words;
        `n_outliers` as flagged. No rows: an empty table.
    """
    lines = []
    for (modality, channel), places in _groups(measured):
        part = measured.iloc[places]
        outliers = [set(text.split(";")) for text in part["outlier"]]
        for name in (*CATEGORICAL, *NUMERIC):
            known = [text for text in values_of(part, name) if text]
            if not known:
                continue
            counts = pd.Series(known).value_counts()
            most = min(counts.index[counts == counts.iloc[0]], key=_in_order)
            numbers = as_numbers(known) if name in NUMERIC else np.array([])
            ends = [float(f(numbers)) for f in (np.min, np.median, np.max)] if numbers.size else [math.nan] * 3
            n_outliers = sum(name in names for names in outliers)
            share = float(counts.iloc[0]) / len(known)
            lines.append((modality, channel, name, len(part), len(known), len(counts), most, share, *ends, n_outliers))
    return pd.DataFrame(lines, columns=list(SUMMARY_COLUMNS))


def values_of(table: pd.DataFrame, name: str) -> list[str]:
    """The texts of a property, those of `spacing_z_mm` and `pixel_mm` taken from `spacing_mm`; empty when unknown."""
    if name not in ("spacing_z_mm", "pixel_mm"):
        return [str(text) for text in table[name]]
    sizes = [as_numbers(str(text).split("x")) for text in table["spacing_mm"]]
    picked = [(found[0] if name == "spacing_z_mm" else found[1:].max()) if found.size == 3 else "" for found in sizes]
    return [f"{value:g}" if value != "" else "" for value in picked]


def as_numbers(texts: Sequence[str]) -> Floats:
    """The finite numbers among some texts."""
    values = pd.to_numeric(pd.Series(list(texts), dtype=object), errors="coerce").to_numpy(dtype=np.float64)
    return np.asarray(values[np.isfinite(values)])


def modified_z(values: Floats) -> Floats:
    """How far each value lies from the median, in robust standard deviations.

    The scale is the median absolute deviation (MAD) times 1.4826, so that 0.6745 (x - median) / MAD results (Iglewicz
    & Hoaglin 1993, How to detect and handle outliers). Where more than half of the values are equal the MAD is 0 and
    the mean absolute deviation times 1.2533 takes its place: a second value then differs while less than about a fifth
    of the series have it. The scale is never below 1 % of the median.

    Parameters
    ----------
    values : float array, shape (n,)
        Finite.

    Returns
    -------
    float array, shape (n,)
        0 everywhere when all values are equal; empty for no values.
    """
    if not values.size:
        return values
    median = np.median(values)
    deviations = np.abs(values - median)
    scale = MAD_TO_SD * np.median(deviations) or MEAN_AD_TO_SD * deviations.mean()
    scale = max(float(scale), FINEST_SHARE * abs(float(median)))
    return np.asarray((values - median) / scale) if scale > 0 else np.zeros(values.shape)


def _complete(series: pd.DataFrame) -> pd.DataFrame:
    table = series.reset_index(drop=True).reindex(columns=list(COLUMNS))
    return table.astype(object).where(table.notna(), "").astype(str)


def _groups(table: pd.DataFrame) -> Iterator[tuple[tuple[str, str], list[int]]]:
    """Modality and channel with the positions of their rows, in alphabetical order."""
    if len(table):
        groups = table.reset_index(drop=True).groupby(["modality", "channel"], sort=True)
        for key, part in groups:
            yield (str(key[0]), str(key[1])), part.index.to_list()


def _differs(part: pd.DataFrame, name: str) -> npt.NDArray[np.bool_]:
    """Which of the rows differ from the others in one property."""
    texts = values_of(part, name)
    nobody = np.zeros(len(texts), bool)
    if name in NOT_JUDGED:
        return nobody
    if name in NUMERIC:
        numbers = pd.to_numeric(pd.Series(texts, dtype=object), errors="coerce").to_numpy(dtype=np.float64)
        is_known = np.isfinite(numbers)
        if is_known.sum() < FEWEST_FOR_Z:
            return nobody
        nobody[is_known] = np.abs(modified_z(numbers[is_known])) > LARGEST_Z
        return nobody
    n_known = sum(text != "" for text in texts)
    counts = pd.Series(texts).value_counts()
    if name in FLAGS:
        return np.array([text == "yes" and 2 * counts["yes"] <= n_known for text in texts])
    if n_known < FEWEST_FOR_RARE:
        return nobody
    return np.array([text != "" and counts[text] < RARE_SHARE * n_known for text in texts])


def _in_order(text: str) -> tuple[float, str]:
    """Numbers by size, then words by alphabet."""
    found = as_numbers([text])
    return (float(found[0]) if found.size else math.inf), text
