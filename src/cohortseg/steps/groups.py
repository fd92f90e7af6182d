"""The tables by property of the cases: groups, gaps between them, interactions, and covariates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from cohortseg.cohort import Case, read_cases
from cohortseg.errors import SettingsError
from cohortseg.layout import Layout
from cohortseg.metrics.corrections import holm
from cohortseg.metrics.covariates import BY, COVARIATE_COLUMNS, correlations
from cohortseg.metrics.interactions import INTERACTION_COLUMNS, interactions
from cohortseg.metrics.subgroups import GAP_COLUMNS, gaps, subgroups, with_groups
from cohortseg.settings import StatisticsSettings
from cohortseg.steps.clinical import read_clinical

LESION_SIZES_ML = ((0.0, 5.0, "below 5 ml"), (5.0, 30.0, "5 to 30 ml"), (30.0, np.inf, "above 30 ml"))
LESION_VOLUMES_ML = ((0.0, 20.0, "below 20 ml"), (20.0, 150.0, "20 to 150 ml"), (150.0, np.inf, "above 150 ml"))
THICKNESSES_MM = (
    (0.0, 2.5, "below 2.5 mm"),
    (2.5, 5.0, "2.5 to 5 mm"),
    (5.0, 7.5, "5 to 7.5 mm"),
    (7.5, np.inf, "above 7.5 mm"),
)
"""The bins of Primakov 2022; a thickness on a border belongs to the thicker bin."""

Locations = Mapping[tuple[str, str], Mapping[str, float] | None]


def properties_of_cases(layout: Layout, scans: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Case: its properties as texts, from the table of cases, the DICOM headers of its first channel, the clinic."""
    cases: list[Case] = read_cases(layout.cases_table)
    scanned = _by_case(scans.drop_duplicates("case").set_index("case") if len(scans) else scans)
    clinical = _by_case(read_clinical(layout, {case.case: case.subject for case in cases}))
    return {case.case: {**scanned.get(case.case, {}), **vars(case), **clinical.get(case.case, {})} for case in cases}


def _by_case(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {str(case): {str(name): value for name, value in row.items()} for case, row in table.iterrows()}


def in_bin(value: float, bins: tuple[tuple[float, float, str], ...], *, upper: bool) -> str:
    """The bin of a number; a border belongs to the bin below it when `upper` is set. Empty where there is none."""
    for low, high, name in bins:
        if (low < value <= high) if upper else (low <= value < high):
            return name
    return ""


def add_property(
    rows: pd.DataFrame, name: str, properties: Mapping[str, Mapping[str, Any]], locations: Locations
) -> pd.DataFrame:
    """The rows with a column `value`: their group by the property `name`, which may depend on the label.

    Raises
    ------
    SettingsError
        When no case has such a property.
    """
    if name in ("lesion_size", "lesion_volume"):
        bins = LESION_SIZES_ML if name == "lesion_size" else LESION_VOLUMES_ML
        return rows.assign(value=[_size(volume, bins) for volume in rows["reference_ml"]])
    if name == "n_lesions":
        return rows.assign(value=[_number_of_lesions(n) for n in rows["n_lesions_reference"]])
    if name in ("location_side", "location_level"):
        keys = zip(rows["case"], rows["label"], strict=True)
        return rows.assign(value=[_place(locations.get(key), name) for key in keys])
    if name == "slice_thickness":
        thickness = {case: _number(facts.get("slice_thickness_mm")) for case, facts in properties.items()}
        return with_groups(rows, {case: in_bin(mm, THICKNESSES_MM, upper=False) for case, mm in thickness.items()})
    if not any(name in facts for facts in properties.values()):
        raise SettingsError(f"report.subgroups: no case has a property {name!r}")
    return with_groups(rows, {case: facts.get(name, "") for case, facts in properties.items()})


def _size(volume_ml: float, bins: tuple[tuple[float, float, str], ...]) -> str:
    return "no lesion" if volume_ml == 0 else in_bin(volume_ml, bins, upper=True) or "unknown"


def _number_of_lesions(n: float) -> str:
    if n != n:
        return "unknown"
    return {0: "no lesion", 1: "1 lesion"}.get(int(n), "2 to 4 lesions" if n < 5 else "5 or more lesions")


def _place(location: Mapping[str, float] | None, name: str) -> str:
    if location is None:
        return "no lesion"
    if name == "location_side":
        return "left" if location["left"] > 0.5 else "right"
    return ("lower third", "middle third", "upper third")[min(2, int(location["head"] * 3))]


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        return np.nan


def group_tables(
    rows: pd.DataFrame,
    names: list[str],
    properties: Mapping[str, Mapping[str, Any]],
    locations: Locations,
    metric: str,
    statistics: StatisticsSettings,
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """`subgroups.csv`, `gaps.csv` and `interactions.csv` of the cleaned labels, all properties below each other.

    `p_groups_holm` and `p_interaction_holm` count the properties: all tests of one experiment (or two), label and
    split.
    """
    post = rows[rows["stage"] == "post"]
    draws: dict[str, Any] = {
        "seed": statistics.seed,
        "n_bootstrap": statistics.bootstrap,
        "confidence": statistics.confidence,
    }
    tested = draws | {"n_permutations": statistics.permutations}
    tables: tuple[list[pd.DataFrame], list[pd.DataFrame], list[pd.DataFrame]] = ([], [], [])
    for name in names:
        grouped = add_property(post, name, properties, locations)
        least = statistics.min_subjects
        table = subgroups(grouped, metric=metric, min_subjects=least, **draws)
        tables[0].append(table.assign(property=name, stage="post"))
        tables[1].append(gaps(grouped, metric=metric, name=name, min_subjects=least, **draws))
        table = interactions(grouped, metric=metric, min_subjects=least, **tested)
        tables[2].append(table.assign(property=name))
    groups, gap, interaction = (pd.concat(part, ignore_index=True) if part else pd.DataFrame() for part in tables)
    if not names:
        gap, interaction = (
            pd.DataFrame(columns=[*BY, *GAP_COLUMNS]),
            pd.DataFrame(columns=[*INTERACTION_COLUMNS, "property"]),
        )
    return (
        groups,
        corrected(gap, "p_groups", [*BY]),
        corrected(interaction, "p_interaction", ["experiment_a", "experiment_b", "label", "split"]),
    )


def covariate_table(
    rows: pd.DataFrame,
    properties: Mapping[str, Mapping[str, Any]],
    metrics: list[str],
    statistics: StatisticsSettings,
) -> pd.DataFrame:
    """`covariates.csv`: correlations on the cleaned labels; Holm counts the covariates of one metric."""
    post, tables = rows[rows["stage"] == "post"], []
    for name in statistics.covariates:
        if name not in rows.columns and not any(name in facts for facts in properties.values()):
            raise SettingsError(f"statistics.covariates: no case has a number {name!r}")
        for label, part in post.groupby("label", sort=True):
            values = _numbers(part, name, properties)
            for metric in metrics:
                found = correlations(
                    part,
                    values,
                    metric=metric,
                    name=name,
                    min_subjects=statistics.min_subjects,
                    confidence=statistics.confidence,
                )
                tables.append(found.assign(label=label))
    joined = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=[*BY, *COVARIATE_COLUMNS])
    return corrected(joined, "p_value", ["experiment", "label", "split", "metric"])


def _numbers(rows: pd.DataFrame, name: str, properties: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    if name in rows.columns:
        return {str(case): float(value) for case, value in rows.groupby("case")[name].first().items()}
    return {case: _number(facts.get(name)) for case, facts in properties.items()}


def corrected(table: pd.DataFrame, column: str, family: list[str]) -> pd.DataFrame:
    """The table with Holm's correction of a column of p values, within each family of rows."""
    adjusted = pd.Series(np.nan, index=table.index, dtype=float)
    for _, part in table.groupby(family, sort=False):
        adjusted.loc[part.index] = holm(part[column].to_numpy(dtype=np.float64))
    table.insert(list(table.columns).index(column) + 1, f"{column}_holm", adjusted)
    return table
