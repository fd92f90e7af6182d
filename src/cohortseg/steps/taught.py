"""Which label a training case is learnt from: its reference, or what another experiment finds on it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from cohortseg.cohort import first_subjects
from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, read_sidecar
from cohortseg.layout import Layout
from cohortseg.settings import LearnedMethod, UNetMethod
from cohortseg.steps.model_space import read_foreground

LABEL = {True: "model-label.zarr", False: "label.zarr"}
"""Name of the store by whether it lies in model space."""
NOBODY_TO_LEARN_FROM = (
    "has no labelled case to train on: cross-validation needs those of two subjects at least; `cohortseg status STUDY` "
    "counts the refused ones"
)
SHARE_SEED = 1
"""Of the draw of the subjects that keep their references: the same for all experiments, folds and seeds."""


class Taught(NamedTuple):
    """The labels of a training that are not references.

    Parameters
    ----------
    stores : mapping
        Training case: the store of its label, where it is not the reference.
    contents : mapping
        The same cases: digest of that label.
    left_out : frozenset of str
        Training cases that must not be learnt from: the source found no label for them.
    """

    stores: Mapping[str, Path]
    contents: Mapping[str, str]
    left_out: frozenset[str]

    def record(self, method: UNetMethod | LearnedMethod, used: Sequence[str]) -> dict[str, Any]:
        """What the sidecar of a model says of it; nothing where all labels are references."""
        if method.labels_from is None:
            return {}
        kept = [name for name in used if name not in self.stores]
        return {"labels": {"from": method.labels_from, "pseudo": dict(self.contents), "reference": kept}}


REFERENCES = Taught({}, {}, frozenset())


def taught(
    layout: Layout, experiment: str, fold: str, method: UNetMethod | LearnedMethod, *, in_model_space: bool
) -> Taught:
    """The labels for the training cases of a fold, as `pseudolabel` has left them.

    Raises
    ------
    StudyError
        When they are not there.
    """
    if method.labels_from is None:
        return REFERENCES
    members = read_json(layout.members(fold))
    keep = kept_subjects(layout, members, method.reference_share)
    subjects = _subjects(layout)
    stores, contents, left_out = {}, {}, set()
    for name in members["train"]:
        has_reference = _has_reference(layout, name)
        if has_reference and subjects.get(name) in keep:
            continue
        folder = layout.pseudo(experiment, fold, name)
        record = read_sidecar(folder / "pseudo.json")
        if record is None:
            if (layout.case(name) / "image.json").exists():
                raise StudyError(f"no label of {method.labels_from!r} for case {name!r}: run the workflow again")
            left_out.add(name)
        elif record["status"] != "ok":
            left_out.add(name)
        else:
            stores[name], contents[name] = folder / LABEL[in_model_space], str(record["content"])
    return Taught(stores, contents, frozenset(left_out))


def training_case(
    layout: Layout,
    name: str,
    label: Path | None = None,
    *,
    resolution: str = "full",
    before: Mapping[str, Path] | None = None,
    n_classes: int = 0,
) -> Any:
    """A case as a network is trained on it: with its reference, or with the label of a store in model space.

    Where stores of labels stand before it (a cascade), their classes are further channels of the image.
    """
    from cohortseg.infer.one_hot import WithOneHot
    from cohortseg.train.patches import Case

    prepared = layout.prepared(name, resolution)
    image: Any = store.open_array(prepared)
    if before:
        image = WithOneHot(image, store.open_array(before[name]), n_classes)
    if label is not None:
        return Case(image, store.open_array(label), read_foreground(label))
    return Case(image, store.open_array(prepared, "label"), read_foreground(prepared))


def kept_subjects(layout: Layout, members: Mapping[str, Any], share: float) -> set[str]:
    """The subjects whose references are used: a share of all in the cross-validation, the same in every fold."""
    subjects = _subjects(layout)
    everybody = {subjects[name] for role in ("train", "validation") for name in members[role] if name in subjects}
    return first_subjects(everybody, round(share * len(everybody)), seed=SHARE_SEED)


def _subjects(layout: Layout) -> dict[str, str]:
    return {name: str(entry["subject"]) for name, entry in read_json(layout.ledger)["cases"].items()}


def _has_reference(layout: Layout, name: str) -> bool:
    image = read_sidecar(layout.case(name) / "image.json")
    return image is not None and image["status"] == "ok" and image["contents"]["label"] is not None
