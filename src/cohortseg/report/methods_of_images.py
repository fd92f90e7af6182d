"""The methods text of a study that makes images: what differs from one that makes labels."""

from dataclasses import replace

from cohortseg.report.methods_text import PARTS, Facts, statistics_sentences
from cohortseg.report.numbers import number
from cohortseg.report.references import Bibliography


def _made(facts: Facts, _: Bibliography) -> list[str]:
    """What is made from what."""
    task = facts.settings.get("synthesis")
    if not task:
        return []
    cohort = facts.settings.get("cohort") or {}
    channels = list(cohort.get("channels") or {}) or ["image"]
    is_finer = any(factor > 1 for factor in task["coarser"])
    inputs = task["inputs"] or ([task["target"]] if is_finer else [c for c in channels if c != task["target"]])
    low, high = (number(end, 0) for end in task["range"])
    blocks = " × ".join(map(str, task["coarser"]))
    return [
        f"{task['target']} was made from {', '.join(inputs)}.",
        f"The inputs were averaged over blocks of {blocks} voxels (z, y, x) and interpolated back." if is_finer else "",
        f"Networks learned the target as shares of the range from {low} to {high}, to which real and made images were "
        "clipped; augmentation moved the target with its input by linear interpolation and left its intensities alone.",
    ]


def _model_space(facts: Facts, cited: Bibliography) -> list[str]:
    """As of labels; the target is not normalised."""
    target = (facts.settings.get("synthesis") or {}).get("target")
    known = facts.plan.get("normalisation") or {}
    others = {channel: how for channel, how in known.items() if channel != target}
    plan = {**facts.plan, "normalisation": others} if others else facts.plan
    return PARTS["Preprocessing"](replace(facts, plan=plan), cited)


def _evaluation(facts: Facts, cited: Bibliography) -> list[str]:
    return [
        "Mean absolute and root mean squared error, peak signal-to-noise ratio (with the width of the range as peak) "
        f"and structural similarity {cited.cite('wang')} were measured on the native grid, inside the body of the real "
        "image and over the whole image.",
        statistics_sentences(facts, cited),
    ]


PARTS_OF_IMAGES = {
    "Data": PARTS["Data"],
    "Preprocessing": _model_space,
    "Folds": PARTS["Folds"],
    "Images": _made,
    "Experiments": PARTS["Segmentation"],
    "Search of settings": PARTS["Search of settings"],
    "Evaluation": _evaluation,
    "Software": PARTS["Software"],
}
"""Heading: what writes its sentences."""
