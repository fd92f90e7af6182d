"""What a report is made of: tables, pictures and plain values, gathered by the caller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import pandas as pd

from cohortseg.report.numbers import confidence_words

if TYPE_CHECKING:
    from cohortseg.report.images import ImageResults

FLOW_COLUMNS = ("stage", "status", "reason", "meaning", "n")
REJECTED_COLUMNS = ("case", "stage", "reason", "meaning", "found")
KEYS = ("experiment", "label", "stage", "split")
SUMMARY_COLUMNS = (
    *KEYS,
    *("metric", "n_cases", "n_subjects", "n_defined", "n_undefined"),
    *("mean", "sd", "median", "q1", "q3", "min", "max", "ci_low", "ci_high"),
)
COMPARISON_COLUMNS = (
    *("experiment_a", "experiment_b", "label", "stage", "split", "metric", "n_pairs"),
    *("median_difference", "p_value", "p_holm", "effect_size", "note"),
)
SUBGROUP_COLUMNS = (
    *(*KEYS, "property", "value", "n_cases", "median", "q1", "q3"),
    *("mean", "ci_low", "ci_high"),
)
RESOURCE_COLUMNS = (
    *("stage", "n", "seconds_total", "seconds_median", "peak_memory_mb"),
    *("cpu_seconds_total", "gpu_seconds_total"),
)
QUALITY_COLUMNS = ("rank", "experiment", "case", "is_scored", "score", "empty", "findings")
HISTORY_COLUMNS = ("step", "epoch", "learning_rate", "loss", "validation_loss", "dice")
ROW_COLUMNS = (*KEYS, "case", "subject", "dice", "reference_ml", "undefined")
"""The columns of metrics_by_case.csv that the page needs besides the primary metric."""
SPLITS: dict[str, str] = {"test": "independent test set", "val": "cross-validation", "unseen": "later cases"}
"""How cases were kept from the training, in words; the first that there is bears the verdict of the page."""


@dataclass(frozen=True)
class Plane:
    """The slices of one case along one axis.

    Parameters
    ----------
    name : str
        `axial`, `coronal` or `sagittal`.
    size_px : (int, int)
        Height and width of one slice.
    numbers : sequence of int
        Number of each slice in the image as it is stored, counted from 1, from top to bottom of the pictures.
    n_slices : int
        How many slices the image has along this axis.
    key : int
        Which of them (counted from 0) is shown first.
    image, reference : bytes
        WebP of all slices below each other, from `strips`; the reference is transparent but for its outlines and may
        be empty.
    """

    name: str
    size_px: tuple[int, int]
    numbers: Sequence[int]
    n_slices: int
    key: int
    image: bytes
    reference: bytes = b""


@dataclass(frozen=True)
class Overlay:
    """One experiment on one case whose slices are in `ReportContent.views`.

    Parameters
    ----------
    experiment, case : str
        What is shown.
    label_names : sequence of str
        Names of label 1, 2, …; their outlines have the colours of `style.label_colours(len(label_names))`.
    kind : "worst", "median", "best" or "unscored"
        Why this case is shown.
    metric, value : str, float
        Metric by which it was chosen, and its value; NaN when undefined.
    predictions : sequence of bytes
        The outlines of the prediction in each plane of the case, as `Plane.reference`.
    caption : str
        More to say about it (volumes); may be empty.
    """

    experiment: str
    case: str
    label_names: Sequence[str]
    kind: Literal["worst", "median", "best", "unscored"]
    metric: str
    value: float
    predictions: Sequence[bytes]
    caption: str = ""


@dataclass(frozen=True)
class ReportContent:
    """All that the page shows. Any table may be empty, with or without columns; missing columns count as undefined.

    Parameters
    ----------
    study : str
        Name of the study.
    flow : DataFrame
        `stage, status, reason, meaning, n`, in the order of the stages; status `ok` goes on to the next stage.
    rejected : DataFrame
        `case, stage, reason, meaning, found`: one line per rejected case.
    rows : DataFrame
        `metrics_by_case.csv`.
    summary : DataFrame
        One line per experiment, label, stage, split and metric; columns `SUMMARY_COLUMNS`; the interval is that of
        the mean.
    comparison : DataFrame
        One line per pair of experiments, label, stage, split and metric; `median_difference` is a minus b and infinite
        when one side fails in most subjects. The columns `n_subjects` and `n_excluded` are shown where they are there.
    subgroups : DataFrame
        The primary metric by property of the cases; columns `SUBGROUP_COLUMNS`; the interval is that of the mean.
    histories : mapping
        Name of a model, best written `experiment/fold-0-seed-1`: table with the columns `HISTORY_COLUMNS`.
    overlays : sequence of Overlay
        The pictures; all of them are embedded.
    views : mapping
        Case: its planes; each case of `overlays` stands here.
    thumbnails : mapping
        Rejected case: WebP of a slice, where an image of it was stored.
    plan : mapping
        plan.json; whatever holds `value` and `because` is shown as a decision.
    settings_text : str
        The settings as YAML.
    versions : mapping
        Name of a program: version.
    window_hu : (float, float), optional
        Intensities of a CT that its pictures show black and white.
    warnings : sequence of str
        What the reader should know before the numbers.
    heterogeneity, heterogeneity_summary : DataFrame or None
        One row per series with its properties and `outlier`, and one per modality, channel and property: see
        `metrics.heterogeneity`.
    repairs : DataFrame or None
        `case, what, count`: what was mended or borne.
    resources : DataFrame or None
        Columns `RESOURCE_COLUMNS`.
    primary_metric : str
        Metric of comparisons, plots and of the chosen cases.
    metric_info : mapping
        Metric: (unit, definition).
    quality : DataFrame or None
        Cases to look at, from `quality.csv`: the columns `QUALITY_COLUMNS`, the most striking first.
    tables : mapping
        Further tables by name (ranks, agreement, …), as they are; what is not there is not shown.
    dictionary : DataFrame or None
        `table, column, unit, definition` of their columns.
    study_settings : mapping
        All settings with their defaults, for the methods text; empty leaves it out.
    n_parameters : mapping
        Trained experiment: number of weights.
    method_sources : mapping
        Method: (what it is, the papers that define it).
    digests : mapping
        What, in words: its SHA-256.
    files : mapping
        Address relative to the report: what the file holds.
    images : ImageResults or None
        What a study that makes images found; it has no labels, and the page shows this instead.
    generated : str or None
        A date to print; None leaves it out, so that the same content gives the same bytes.
    """

    study: str
    flow: pd.DataFrame
    rejected: pd.DataFrame
    rows: pd.DataFrame
    summary: pd.DataFrame
    comparison: pd.DataFrame
    subgroups: pd.DataFrame
    histories: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    overlays: Sequence[Overlay] = ()
    views: Mapping[str, Sequence[Plane]] = field(default_factory=dict)
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    plan: Mapping[str, Any] = field(default_factory=dict)
    window_hu: tuple[float, float] | None = None
    settings_text: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    heterogeneity: pd.DataFrame | None = None
    heterogeneity_summary: pd.DataFrame | None = None
    repairs: pd.DataFrame | None = None
    resources: pd.DataFrame | None = None
    primary_metric: str = "dice"
    metric_info: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    quality: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    dictionary: pd.DataFrame | None = None
    study_settings: Mapping[str, Any] = field(default_factory=dict)
    n_parameters: Mapping[str, int] = field(default_factory=dict)
    method_sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    images: "ImageResults | None" = None
    generated: str | None = None

    @property
    def confidence(self) -> str:
        """The confidence of all intervals: `95 %`."""
        return confidence_words(self.study_settings)


def with_columns(frame: pd.DataFrame | None, columns: Sequence[str]) -> pd.DataFrame:
    """`frame` with at least these columns, numbered anew; missing ones are NaN, None is an empty table."""
    table = pd.DataFrame() if frame is None else frame.reset_index(drop=True)
    missing = [name for name in dict.fromkeys(columns) if name not in table.columns]
    return table.reindex(columns=[*table.columns, *missing])


def last_stage(stages: pd.Series) -> str:
    """`post` when it occurs, else the last of the other names in alphabetical order; empty for no stages."""
    names = sorted(stages.dropna().unique())
    return "post" if "post" in names else (names[-1] if names else "")


def text_column(table: pd.DataFrame, name: str) -> pd.Series:
    """A column as texts; what is missing is `""`."""
    column = table[name].astype(object)
    return column.where(column.notna(), "")


def splits_in(table: pd.DataFrame) -> list[str]:
    """The splits that a table with a column `split` holds, in the order of `SPLITS`; a missing one is `""`."""
    order = {name: k for k, name in enumerate(SPLITS)}
    return sorted(text_column(table, "split").unique(), key=lambda name: (order.get(name, len(order)), name))


def of_split(table: pd.DataFrame, split: str) -> pd.DataFrame:
    """The rows of one split."""
    return table[text_column(table, "split") == split]


def of_leading_split(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the split that bears the verdict: the test set, else cross-validation, else later cases.

    Chosen by its kind alone, never by its numbers; splits are not mixed in one mean, see `steps.aggregate`.
    """
    return of_split(table, next(iter(splits_in(table)), ""))
