"""The methods section of a paper on the study: sentences from the settings and the plan that were in fact used.

Every sentence rests on a setting, on the plan or on a count; what is not known is left out.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from cohortseg.report.flow import Flow
from cohortseg.report.labels_text import (
    cascade_sentence,
    kept_sentence,
    label_sentences,
    target_sentence,
    taught_sentence,
)
from cohortseg.report.numbers import confidence_words, counted, metric_look, significant
from cohortseg.report.plan_table import normalisation_words
from cohortseg.report.references import Bibliography
from cohortseg.report.tuning_text import tuning_sentences

Settings = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What the text is made from.

    Parameters
    ----------
    settings : mapping
        All settings of the study with their defaults; empty when they were not recorded.
    plan : mapping
        plan.json, or empty.
    flow : Flow
        How many scans were found and rejected.
    n_cases, n_subjects : int
        Evaluated cases and people.
    n_parameters : mapping
        Trained experiment: number of weights of its network.
    sources : mapping
        Method: what it is, and the papers that define it.
    versions : mapping
        Program: version.
    """

    settings: Settings
    plan: Settings = field(default_factory=dict)
    flow: Flow = field(default_factory=Flow)
    n_cases: int = 0
    n_subjects: int = 0
    n_parameters: Mapping[str, int] = field(default_factory=dict)
    sources: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodsText:
    """Paragraphs with their headings, and the references that they cite."""

    paragraphs: tuple[tuple[str, str], ...]
    references: tuple[str, ...]


def methods_text(facts: Facts, parts: "Parts | None" = None) -> MethodsText | None:
    """The text, of `PARTS` or others; None when no settings were recorded."""
    if not facts.settings:
        return None
    cited = Bibliography()
    written = [
        (title, " ".join(sentence for sentence in write(facts, cited) if sentence))
        for title, write in (parts or PARTS).items()
    ]
    return MethodsText(tuple((title, text) for title, text in written if text), tuple(cited.lines))


def _data(facts: Facts, cited: Bibliography) -> list[str]:
    cohort = facts.settings.get("cohort", {})
    modality = (cohort.get("series") or {}).get("modality")
    kind = f"({modality}) " if modality else ""
    found = (
        f"{counted(facts.flow.n_found, 'scan')} {'' if facts.flow.n_not_selected else kind}were found"
        if facts.flow.steps
        else ""
    )
    aside = f", of which {counted(facts.flow.n_not_selected, 'scan')} were not of the kind wanted {kind}".rstrip()
    rejected = f"; {counted(facts.flow.n_rejected, 'scan')} were rejected for reasons given in the cohort flow"
    classes = list((cohort.get("labels") or {}).get("structures") or {})
    return [
        f"{found}{aside if facts.flow.n_not_selected else ''}{rejected if facts.flow.n_rejected else ''}."
        if found
        else "",
        f"Reference labels of {_listed(classes)} were used as supplied." if classes else "",
        "The geometry of every scan was checked (slice positions, orientation, gaps), and images and labels were "
        f"stored as OME-Zarr {cited.cite('omezarr')}.",
        f"Results refer to {counted(facts.n_cases, 'case')} of {counted(facts.n_subjects, 'subject')}."
        if facts.n_cases
        else "",
    ]


def _model_space(facts: Facts, cited: Bibliography) -> list[str]:
    spacing = (facts.plan.get("spacing_mm") or {}).get("value")
    if not spacing:
        return []
    # A plan for planes leaves the distance of slices as it is.
    planned, axes = [size for size in spacing if size is not None], "zyx"[-sum(size is not None for size in spacing) :]
    how = (facts.settings.get("preprocess") or {}).get("interpolation", "linear")
    names = {"linear": "linear", "bspline": "cubic B-spline"}
    sentences = [
        f"For the networks, images were resampled to {_product(planned)} mm ({', '.join(axes)}) with "
        f"{names.get(how, how)} and "
        f"labels with nearest-neighbour interpolation {cited.cite('simpleitk')}."
    ]
    for channel, chosen in (facts.plan.get("normalisation") or {}).items():
        of = f" of channel {channel}" if len(facts.plan["normalisation"]) > 1 else ""
        unit = "HU" if (facts.plan.get("modality") or {}).get(channel) == "CT" else ""
        sentences.append(f"Intensities{of} were normalised as follows: {normalisation_words(chosen, unit)}.")
    seen = (facts.plan.get("seen") or {}).get("n_cases")
    sentences.append(f"These choices were made once from {counted(seen, 'case')} and then frozen." if seen else "")
    return sentences


STRATA = {"labelled": "the presence of a reference", "positive": "the presence of a labelled structure in it"}


def _split(facts: Facts, cited: Bibliography) -> list[str]:
    split = facts.settings.get("split") or {}
    if not split:
        return []
    strata = _listed([STRATA.get(str(name), str(name).replace("_", " ")) for name in split.get("stratify") or []])
    share = split.get("test_fraction") or 0
    return [
        f"{100 * share:g} % of the subjects were kept apart as an independent test set." if share else "",
        f"The {'other ' if share else ''}subjects were dealt into {split['folds']} folds for cross-validation (seed "
        f"{split['seed']}){f', stratified by {strata}' if strata else ''}; all scans of one subject were in the same "
        "fold.",
        f"Because the models of the folds share training cases, intervals are somewhat too narrow "
        f"{cited.cite('bengio')}.",
    ]


def _segmentation(facts: Facts, cited: Bibliography) -> list[str]:
    sentences = []
    for name, method in (facts.settings.get("experiments") or {}).items():
        write = WRITERS.get(method.get("method", ""))
        text = write(facts, name, method, cited) if write else _other(facts, method)
        sentences.append(f"Experiment “{name}”: {text}")
    return sentences


def _searched(facts: Facts, cited: Bibliography) -> list[str]:
    return tuning_sentences(facts.settings, cited)


def _other(facts: Facts, method: Settings) -> str:
    """A method that has no sentence of its own: what its table says of it, with its settings."""
    kind = str(method.get("method", "unknown"))
    summary, source = facts.sources.get(kind, (kind, ""))
    values = ", ".join(f"{key} {value}" for key, value in method.items() if key != "method" and value not in (None, []))
    return f"{summary}{f' ({source})' if source else ''}{f'; settings: {values}' if values else ''}."


RULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "otsu": ("Otsu's threshold", ("otsu",)),
    "multi_otsu": ("the highest of several Otsu thresholds", ("otsu", "liao")),
    "yen": ("Yen's threshold", ("yen",)),
    "li": ("the threshold of least cross entropy", ("li",)),
    "triangle": ("the triangle threshold", ("triangle",)),
}


def _threshold(_: Facts, __: str, method: Settings, cited: Bibliography) -> str:
    where = {"all": "the whole image", "body": "the body", "lungs": "the lungs"}
    inside = where.get(str(method.get("inside")), str(method.get("inside")))
    if method.get("rule") == "fixed":
        limits = [
            f"{word} {method[key]:g}"
            for word, key in (("above", "low"), ("below", "high"))
            if method.get(key) is not None
        ]
        rule = f"a fixed threshold ({' and '.join(limits)})"
    else:
        words, keys = RULES.get(str(method.get("rule")), (str(method.get("rule")), ()))
        rule = f"{words} {cited.cite(*keys)}" if keys else words
    opening = method.get("opening_mm") or 0
    return f"{rule} inside {inside}{f', after an opening of {opening:g} mm' if opening else ''}."


LOSSES: dict[str, tuple[str, tuple[str, ...]]] = {
    "dice_ce": ("the sum of Dice loss and cross entropy", ("dice_loss",)),
    "dice_bce": ("the sum of Dice loss and binary cross entropy", ("dice_loss",)),
    "dice": ("the Dice loss", ("dice_loss",)),
    "cross_entropy": ("cross entropy", ()),
    "focal": ("the focal loss", ("focal",)),
    "l1": ("the mean absolute error as loss", ()),
    "l2": ("the mean squared error as loss", ()),
    "smooth_l1": ("the smooth L1 loss", ()),
}
OPTIMISERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "adamw": ("AdamW", ("adamw",)),
    "sgd_nesterov": ("stochastic gradient descent with Nesterov momentum", ()),
}
SCHEDULES: dict[str, tuple[str, tuple[str, ...]]] = {
    "constant": ("kept constant", ()),
    "cosine": ("lowered along a cosine", ("cosine",)),
    "poly": ("lowered polynomially", ()),
    "exponential": ("lowered exponentially", ()),
}


def _unet(facts: Facts, name: str, method: Settings, cited: Bibliography) -> str:
    def choice(key: str, table: Mapping[str, tuple[str, tuple[str, ...]]]) -> str:
        words, keys = table.get(str(method.get(key)), (str(method.get(key)), ()))
        return f"{words} {cited.cite(*keys)}" if keys else words

    dims = facts.plan.get("dims") or (facts.settings.get("plan") or {}).get("dims", 3)
    plan, is_low = facts.plan, method.get("resolution") == "low"
    if is_low:
        plan = {**plan, **(plan.get("low_resolution") or {})}
    patch, spacing = ((plan.get(key) or {}).get("value") for key in ("patch", "spacing_mm"))
    paper = (method.get("architecture") or {}).get("name")
    if paper:
        kind = f"a {dims}D network “{paper}”"
    else:
        cites = cited.cite("ronneberger", "isensee") if dims == 2 else cited.cite("cicek", "isensee")
        encoder = " with a residual encoder" if str(method.get("encoder", "plain")) != "plain" else ""
        kind = f"a {dims}D U-Net{encoder} {cites}"
    weights = facts.n_parameters.get(name)
    seeds = method.get("seeds") or []
    batch = method.get("batch") or (plan.get("batch") or {}).get("value")
    size = f" with {counted(weights, 'weight')}" if weights else ""
    parts = [
        f"{kind}{size} was trained {_length(method)}on {f'batches of {batch} ' if batch else ''}patches"
        f"{f' of {_product(patch)} voxels' if patch else ''} with {choice('loss', LOSSES)}, "
        f"{choice('optimiser', OPTIMISERS)} and a learning rate of {method.get('learning_rate'):g} "
        f"{choice('schedule', SCHEDULES)}.",
        f"It saw images at low resolution, in voxels of {_product(spacing)} mm (z, y, x) {cited.cite('isensee')}."
        if is_low and spacing
        else "",
        cascade_sentence(method, (facts.settings.get("split") or {}).get("folds")),
        target_sentence(method),
        taught_sentence(method),
        kept_sentence(method),
        "The loss counted at the coarser levels of the decoder, too." if method.get("deep_supervision") else "",
        f"Augmentation: preset “{method.get('augmentation')}”." if method.get("augmentation") != "none" else "",
        f"One model per fold and seed ({', '.join(map(str, seeds))})." if seeds else "",
        f"Prediction was by a sliding window with {100 * (method.get('overlap') or 0):g} % overlap"
        f"{', averaged over mirrored inputs' if method.get('mirror') else ''}, on the native grid.",
    ]
    return " ".join(part for part in parts if part)


def _length(method: Settings) -> str:
    """How long a network was trained, as the settings say it; empty where they leave it to the default."""
    if method.get("steps"):
        return f"for {counted(method['steps'], 'step')} "
    if method.get("minutes"):
        return f"for as many steps as fit into {method['minutes']:g} minutes, measured once, "
    return ""


def _best(facts: Facts, _name: str, method: Settings, cited: Bibliography) -> str:
    rest = [name for name, one in (facts.settings.get("experiments") or {}).items() if one.get("method") != "best"]
    among = method.get("among") or rest
    rule = "with the highest mean Dice over subjects"
    if method.get("keep_if") == "interval":
        rule = f"{among[0]}, or another that was better by at least 0.001 with its whole bootstrap interval"
    return (
        f"the model among {_listed(among)}, their seeds, and the mean of those that keep probabilities, {rule}, chosen "
        f"for each fold by the validation cases of the other folds {cited.cite('isensee')}."
    )


def _cleaning(facts: Facts, _: Bibliography) -> list[str]:
    chosen = facts.settings.get("postprocess") or {}
    if chosen.get("choose"):
        return [*_chosen_threshold(facts), _chosen_cleaning(chosen)]
    keep = chosen.get("keep", "all")
    done = [
        "a fully connected conditional random field on the probabilities" if chosen.get("crf") else "",
        f"an opening of {chosen.get('opening_mm'):g} mm" if chosen.get("opening_mm") else "",
        f"a closing of {chosen.get('closing_mm'):g} mm" if chosen.get("closing_mm") else "",
        "filling of holes" if chosen.get("fill_holes") else "",
        f"removal of components below {chosen.get('min_volume_ml'):g} ml" if chosen.get("min_volume_ml") else "",
        f"removal of components on fewer than {chosen['min_slices']} slices" if chosen.get("min_slices", 1) > 1 else "",
        ""
        if keep == "all"
        else f"keeping the {'largest component' if keep == 'largest' else f'{keep} largest components'}",
    ]
    named = [text for text in done if text]
    cleaned = f"Predicted labels were cleaned by {_listed(named)}; raw and cleaned labels were both scored."
    return [*_chosen_threshold(facts), *([cleaned] if named else [])]


def _chosen_cleaning(chosen: Settings) -> str:
    rule = "was above zero"
    if chosen.get("keep_if") == "interval":
        rule = "was at least 0.001 and its bootstrap interval, for all candidates together, above zero"
    return (
        "Post-processing of each class was chosen for each fold by the validation cases of the other folds, among "
        "filling of holes, keeping the largest or the two largest components, smallest volumes, opening and closing, "
        f"and was applied where the mean gain in Dice over subjects {rule}; for an independent test set all folds "
        "chose. Raw and cleaned labels were both scored."
    )


def _chosen_threshold(facts: Facts) -> list[str]:
    auto = sorted(n for n, one in (facts.settings.get("experiments") or {}).items() if one.get("threshold") == "auto")
    if not auto:
        return []
    return [
        f"The probability threshold of {_listed(auto)} was chosen from 0.02 to 0.98 for each fold, by the validation "
        "cases of the other folds."
    ]


def _evaluation(facts: Facts, cited: Bibliography) -> list[str]:
    tolerance = (facts.settings.get("metrics") or {}).get("nsd_tolerance_mm")
    primary = (facts.settings.get("report") or {}).get("primary_metric", "dice")
    return [
        f"Metrics follow published recommendations {cited.cite('taha', 'reloaded')}; the primary one is "
        f"{metric_look(primary).title}.",
        f"The normalised surface distance used a tolerance of {tolerance:g} mm {cited.cite('nikolov')}."
        if tolerance
        else "",
        *label_sentences(facts.settings),
        "The 95th percentile of the Hausdorff distance is the larger of the two directed percentiles. Where reference "
        "and prediction are both empty, metrics are undefined and counted apart; an empty prediction of a present "
        "structure counts as a Dice of 0 and as the worst case in comparisons of surface metrics.",
        statistics_sentences(facts, cited),
    ]


def statistics_sentences(facts: Facts, cited: Bibliography) -> str:
    """Which intervals and tests stand behind the tables."""
    confidence = confidence_words(facts.settings)
    return (
        f"Means carry {confidence} percentile bootstrap intervals over subjects {cited.cite('efron')}. Experiments "
        f"were compared by Wilcoxon's signed-rank test on one difference per subject {cited.cite('wilcoxon')}, with "
        f"Holm's correction {cited.cite('holm')} and the matched-pairs rank-biserial correlation as effect size "
        f"{cited.cite('kerby')}."
    )


def _software(facts: Facts, cited: Bibliography) -> list[str]:
    versions = facts.versions
    named = [
        f"{name} {versions[name]}"
        for name in ("cohortseg", "python", "torch", "SimpleITK", "pydicom")
        if name in versions
    ]
    trained = cited.cite("snakemake", "pytorch") if "torch" in versions else cited.cite("snakemake")
    return [f"The study was run as one Snakemake workflow {trained} with {_listed(named)}."] if named else []


WRITERS: dict[str, Callable[[Facts, str, Settings, Bibliography], str]] = {
    "threshold": _threshold,
    "unet": _unet,
    "best": _best,
}
Parts: TypeAlias = dict[str, Callable[[Facts, Bibliography], list[str]]]
PARTS: Parts = {
    "Data": _data,
    "Preprocessing": _model_space,
    "Folds": _split,
    "Segmentation": _segmentation,
    "Search of settings": _searched,
    "Post-processing": _cleaning,
    "Evaluation": _evaluation,
    "Software": _software,
}
"""Heading: what writes its sentences."""


def _listed(words: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def _product(numbers: Sequence[float]) -> str:
    return " × ".join(significant(number) for number in numbers)
