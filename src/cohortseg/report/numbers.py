"""Numbers and counts as a reader wants them: few digits, true minus signs, a word for what is undefined."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

UNDEFINED = "–"
NARROW_SPACE = "\u202f"
MINUS = "\u2212"
USUAL_CONFIDENCE = 0.95
Direction = Literal["higher", "lower", "none"]


@dataclass(frozen=True)
class MetricLook:
    """How a metric is written: its title, its decimals, and which direction is better."""

    title: str
    decimals: int
    better: Direction


METRICS: dict[str, MetricLook] = {
    "dice": MetricLook("Dice", 2, "higher"),
    "jaccard": MetricLook("Jaccard", 2, "higher"),
    "nsd": MetricLook("NSD", 2, "higher"),
    "hd95_mm": MetricLook("HD95", 1, "lower"),
    "hd_mm": MetricLook("HD", 1, "lower"),
    "assd_mm": MetricLook("ASSD", 1, "lower"),
    "sensitivity": MetricLook("Sensitivity", 2, "higher"),
    "precision": MetricLook("Precision", 2, "higher"),
    "specificity": MetricLook("Specificity", 3, "higher"),
    "accuracy": MetricLook("Accuracy", 3, "higher"),
    "segmentation_accuracy": MetricLook("Segmentation accuracy", 2, "higher"),
    "volume_difference_ml": MetricLook("Volume difference", 1, "none"),
    "reference_ml": MetricLook("Reference volume", 1, "none"),
    "prediction_ml": MetricLook("Predicted volume", 1, "none"),
    "lesion_sensitivity": MetricLook("Lesion sensitivity", 2, "higher"),
    "lesion_precision": MetricLook("Lesion precision", 2, "higher"),
    "n_lesions_reference": MetricLook("Lesions in the reference", 0, "none"),
    "n_lesions_prediction": MetricLook("Lesions in the prediction", 0, "none"),
    "lesion_f1": MetricLook("Lesion F1", 2, "higher"),
    "lesion_dice": MetricLook("Dice of lesions", 2, "higher"),
    "boundary_jaccard": MetricLook("Boundary Jaccard", 2, "higher"),
    "added_path_mm": MetricLook("Added path length", 0, "lower"),
    "relative_volume_difference": MetricLook("Relative volume difference", 2, "none"),
    "ece": MetricLook("Calibration error (ECE)", 3, "lower"),
    "brier": MetricLook("Brier score", 3, "lower"),
    "roc_auc": MetricLook("ROC area", 3, "higher"),
    "average_precision": MetricLook("Average precision", 2, "higher"),
    "seconds_predict": MetricLook("Prediction time", 1, "lower"),
}
"""The metrics the tables know; the order is the order of columns."""

SHARES = frozenset(name for name, look in METRICS.items() if look.better == "higher") - {"segmentation_accuracy"}
"""Metrics between 0 and 1. The segmentation accuracy falls below 0 when more is wrong than the reference holds."""


OF_PROBABILITIES = frozenset({"ece", "brier", "roc_auc", "average_precision"})
"""Metrics of the probabilities of a network: measured once, with the raw label."""


def metric_look(name: str) -> MetricLook:
    """How `name` is written; a metric that is not in the table gets its own name and two decimals."""
    return METRICS.get(name, MetricLook(name.replace("_", " "), 2, "none"))


def is_number(value: Any) -> bool:
    """Whether `value` is a finite number; None, NaN, NA, infinities and texts are not."""
    return math.isfinite(as_float(value))


def as_float(value: Any) -> float:
    """`value` as a float; NaN for None, NA and texts that are no number."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def number(value: Any, decimals: int = 2) -> str:
    """`value` with a true minus sign and narrow spaces between thousands; a dash when it is no number."""
    if math.isinf(as_float(value)):
        return "∞" if as_float(value) > 0 else f"{MINUS}∞"
    if not is_number(value):
        return UNDEFINED
    text = f"{abs(float(value)):,.{decimals}f}".replace(",", NARROW_SPACE)
    is_negative = float(value) < 0 and any(digit in text for digit in "123456789")
    return f"{MINUS}{text}" if is_negative else text


def significant(value: Any, digits: int = 3) -> str:
    """`value` in so many significant digits, whole numbers in full, never with an exponent: `0.977`, `11 054`.

    What is closer to 0 than 0.00001 is `0.00001` at most: `< 0.00001`.
    """
    if not is_number(value) or float(value) == 0:
        return number(value, 0)
    size = abs(float(value))
    if size < 1e-5:
        return "< 0.00001" if float(value) > 0 else f"> {MINUS}0.00001"
    text = number(value, 0 if size.is_integer() else max(0, digits - 1 - math.floor(math.log10(size))))
    return text.rstrip("0").rstrip(".") if "." in text else text


def signed(value: Any, decimals: int = 2) -> str:
    """Like `number`, with a plus sign for what is above zero after rounding."""
    text = number(value, decimals)
    is_positive = text != UNDEFINED and float(value) > 0 and any(digit in text for digit in "123456789∞")
    return f"+{text}" if is_positive else text


def interval(low: Any, high: Any, decimals: int = 2) -> str:
    """`low–high`; "to" instead of the dash where a minus sign stands beside it; one dash when an end is undefined."""
    if not (is_number(low) and is_number(high)):
        return UNDEFINED
    ends = number(low, decimals), number(high, decimals)
    return (" to " if MINUS in "".join(ends) else "–").join(ends)


def confidence_words(settings: Mapping[str, Any]) -> str:
    """The confidence of all intervals of a study, by its settings: `95 %`."""
    share = (settings.get("statistics") or {}).get("confidence", USUAL_CONFIDENCE)
    return f"{significant(100 * float(share))} %"


def p_value(value: Any) -> str:
    """A p value with its sign of relation: `= 0.012`, `< 0.001`; a dash when undefined."""
    if not is_number(value):
        return UNDEFINED
    p = float(value)
    if p < 0.001:
        return "< 0.001"
    if p > 0.995:
        return "> 0.99"
    return f"= {p:.3f}" if p < 0.1 else f"= {p:.2f}"


def counted(n: Any, singular: str, plural: str = "") -> str:
    """`1 case`, `2 cases`, with narrow spaces between thousands."""
    return f"{number(n, 0)} {singular if is_number(n) and int(n) == 1 else plural or singular + 's'}"


def duration(seconds: Any) -> str:
    """Seconds as the two units that matter: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if not is_number(seconds):
        return UNDEFINED
    if float(seconds) < 10:
        return f"{float(seconds):.1f} s"
    whole = round(float(seconds))
    for size, unit, small, small_unit in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            return f"{number(whole // size, 0)} {unit} {whole % size // small} {small_unit}"
    return f"{whole} s"


def memory(megabytes: Any) -> str:
    """MB up to 1000, then GB (powers of 1000)."""
    if not is_number(megabytes):
        return UNDEFINED
    size = float(megabytes)
    return f"{size / 1000:.1f} GB" if size >= 1000 else f"{size:.0f} MB"
