"""Sentences of the methods text on what was scored besides the classes, and on what was left out."""

from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


def label_sentences(settings: Settings) -> list[str]:
    """What regions are made of, and which voxels counted for nothing; empty where there are neither."""
    regions = settings.get("regions") or {}
    labels = (settings.get("cohort") or {}).get("labels") or {}
    named = "; ".join(f"{name}: {' + '.join(members)}" for name, members in regions.items())
    return [
        f"Beside the classes, regions were scored as unions of classes ({named})." if named else "",
        "Voxels that the reference labels as `ignore` took no part in training, and were taken out of reference and "
        "prediction before anything was measured."
        if "ignore" in {**(labels.get("structures") or {}), **(labels.get("values") or {})}
        else "",
    ]


def target_sentence(method: Settings) -> str:
    """How a network that finds regions was trained and decoded; empty for one that finds classes."""
    if method.get("targets") != "regions":
        return ""
    return (
        "Its outputs are the regions, one sigmoid for each; the loss is the mean over them, and regions with a "
        "probability above one half were written over each other in their order to give exclusive classes."
    )


def cascade_sentence(method: Settings, folds: int | None) -> str:
    """What a network of a cascade was given, and who found it; empty for others."""
    source = method.get("cascade")
    if not source:
        return ""
    pairs = f" ({folds * (folds - 1) // 2} of them, for pairs of {folds} folds)" if folds else ""
    return (
        f"As further input channels it was given the labels that the experiment {source} found at low resolution, one "
        "channel for each class. On training cases these came from networks of that experiment which had been trained "
        f"neither on the case nor on any held-out case of the fold{pairs}; on held-out cases from its network of the "
        "same fold. So no held-out reference went into these labels."
    )


def kept_sentence(method: Settings) -> str:
    """What of a training was decided by the cases that it kept out; empty where nothing was."""
    rows = method.get("patience") or 0
    ended = f"training ended after {rows} validations without a better one" if rows else ""
    kept = "the weights of the best validation were kept" if method.get("keep") == "best" else ""
    if not (ended or kept):
        return ""
    what = " and ".join(filter(None, (ended, kept)))
    held_out = "it is the held-out cases of the fold that validate, so results on them are too good"
    return f"{what[0].upper()}{what[1:]}; {held_out}."


def taught_sentence(method: Settings) -> str:
    """Whose labels a method learnt from, or what of them; empty where these were the references."""
    boxes = "" if method.get("boxes") is None else _boxes_sentence(float(method["boxes"]))
    source = method.get("labels_from")
    if not source:
        return boxes
    share = method.get("reference_share") or 0
    but = f", but for {100 * share:g} % of the subjects, which kept their references" if share else ""
    return (
        f"It learnt from the labels that the experiment {source} found on the training cases of each fold{but}; no "
        "held-out case of the fold took part in making them. It was scored against references."
        f"{f' {boxes}' if boxes else ''}"
    )


def _boxes_sentence(share: float) -> str:
    """What of a box was learnt."""
    inner = "all of it counted as its class" if share == 1 else f"the middle {100 * share:g} % of it was its class"
    rest = "" if share == 1 else ", the rest of the box counted for nothing"
    return (
        f"Of each labelled object it was told the bounding box alone: {inner}{rest}, and what lay outside all boxes "
        "was background. It was scored against outlines."
    )
