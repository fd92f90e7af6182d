"""Shallow methods that learn from labelled cases: forest and support vectors on voxel features, and two shape guesses.

What is learnt is a few named arrays of numbers, so that it can be kept as safetensors: a pickle from outside is code.
Each learner is fitted on the cases it is given and on nothing else; that these are training folds is the caller's part.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.ignored import IGNORE
from cohortseg.methods.features import bank
from cohortseg.methods.trees import as_arrays, shares
from cohortseg.volume import Array, Shape, Volume

Model: TypeAlias = dict[str, npt.NDArray[Any]]
Labelled: TypeAlias = tuple[Volume, Array]
"""An image and its uint8 label on the same grid; 255 is unlabelled."""
Rows: TypeAlias = npt.NDArray[np.float32]
Labels: TypeAlias = npt.NDArray[np.uint8]

GROUP = 200_000
"""Voxels that go to a forest at a time."""
KERNEL = 2**18
"""Numbers of the kernel of voxels and support vectors that are held at a time: few enough to stay in a cache."""


@dataclass(frozen=True)
class Learner:
    """How the arrays of a method are learnt and used; what it is and where it comes from says `METHODS`."""

    fit: Callable[..., Model]
    predict: Callable[[Model, Volume], Labels]


def draw(
    cases: Iterable[Labelled],
    n_classes: int,
    *,
    scales_mm: Sequence[float],
    position: bool,
    per_class: int,
    seed: int,
) -> tuple[Rows, Labels]:
    """Feature vectors and labels of random voxels, up to so many of each class in each case.

    Raises
    ------
    SettingsError
        When there are fewer than two classes among the cases.
    """
    rows, labels = [], []
    for number, (volume, label) in enumerate(cases):
        random = np.random.default_rng([seed, number])
        features = bank(volume, scales_mm, position=position).reshape(-1, label.size)
        flat = np.asarray(label).ravel()
        for value in range(n_classes + 1):
            at = np.flatnonzero(flat == value)
            at = np.sort(random.choice(at, min(per_class, at.size), replace=False))
            rows.append(features[:, at].T)
            labels.append(np.full(at.size, value, np.uint8))
    found = np.concatenate(labels) if labels else np.zeros(0, np.uint8)
    if np.unique(found).size < 2:
        raise SettingsError("a classifier needs labelled cases with at least two classes, background among them")
    return np.concatenate(rows), found


def fit_forest(
    cases: Iterable[Labelled],
    n_classes: int,
    *,
    scales_mm: Sequence[float] = (1.0, 2.0, 4.0),
    position: bool = True,
    per_class: int = 500,
    seed: int = 1,
    trees: int = 50,
    depth: int = 14,
) -> Model:
    """A random forest on the features of single voxels.

    Parameters
    ----------
    cases : iterable of (Volume, label)
    n_classes : int
        Without the background.
    scales_mm, position
        Of the features (`features.bank`).
    per_class, seed
        Voxels drawn of each class in each case.
    trees, depth : int

    Notes
    -----
    Source: Breiman 2001, Mach. Learn. 45(1); fitted by scikit-learn.
    """
    from sklearn.ensemble import RandomForestClassifier

    rows, labels = draw(cases, n_classes, scales_mm=scales_mm, position=position, per_class=per_class, seed=seed)
    forest = RandomForestClassifier(trees, max_depth=depth, min_samples_leaf=2, random_state=seed).fit(rows, labels)
    return {
        **as_arrays([tree.tree_ for tree in forest.estimators_]),
        "classes": forest.classes_.astype(np.uint8),
        **_feature_settings(scales_mm, position),
    }


def predict_forest(model: Model, volume: Volume) -> Labels:
    """The class with the largest share in each voxel."""
    return _by_rows(model, volume, lambda rows: shares(model, rows).argmax(axis=1), GROUP)


def fit_svm(
    cases: Iterable[Labelled],
    n_classes: int,
    *,
    scales_mm: Sequence[float] = (1.0, 2.0, 4.0),
    position: bool = True,
    per_class: int = 60,
    seed: int = 1,
    penalty: float = 1.0,
) -> Model:
    """Support vectors with a Gaussian kernel on the features of single voxels, scaled alike.

    Parameters
    ----------
    cases, n_classes, scales_mm, position, per_class, seed
        As in `fit_forest`; prediction takes time in proportion to the voxels drawn.
    penalty : float
        C.

    Notes
    -----
    Source: Cortes & Vapnik 1995, Mach. Learn. 20(3); fitted by scikit-learn, several classes one against one.
    """
    rows, labels = draw(cases, n_classes, scales_mm=scales_mm, position=position, per_class=per_class, seed=seed)
    return {**machine(rows, labels, penalty=penalty), **_feature_settings(scales_mm, position)}


def machine(rows: Array, labels: Labels, *, penalty: float, balanced: bool = False) -> Model:
    """The arrays of a machine with a Gaussian kernel on rows of features, each scaled to mean 0 and deviation 1.

    With `balanced` all classes weigh the same, however many rows they have.
    """
    from sklearn.svm import SVC

    mean, deviation = rows.mean(axis=0), np.maximum(rows.std(axis=0), 1e-6)
    scaled = ((rows - mean) / deviation).astype(np.float64)
    gamma, weight = 1.0 / scaled.shape[1], "balanced" if balanced else None
    found = SVC(C=penalty, kernel="rbf", gamma=gamma, decision_function_shape="ovo", class_weight=weight)
    found.fit(scaled, labels)
    return {
        "vectors": found.support_vectors_.astype(np.float64),
        "weights": found.dual_coef_.astype(np.float64),
        "per_class": found.n_support_.astype(np.int32),
        "offsets": found.intercept_.astype(np.float64),
        "gamma": np.array([gamma]),
        "mean": mean.astype(np.float64),
        "deviation": deviation.astype(np.float64),
        "classes": found.classes_.astype(np.uint8),
    }


def svm_decisions(model: Model, rows: Array) -> npt.NDArray[np.float64]:
    """Distance from the border of each pair of classes (first over second when above 0), shape (rows, pairs)."""
    scaled = (rows - model["mean"]) / model["deviation"]
    vectors = model["vectors"]
    kernel = np.add.outer((scaled**2).sum(1), (vectors**2).sum(1))
    kernel -= 2 * scaled @ vectors.T
    np.maximum(kernel, 0, out=kernel)
    kernel *= -model["gamma"][0]
    np.exp(kernel, out=kernel)
    ends = np.concatenate([[0], np.cumsum(model["per_class"])])
    found, pair, n = [], 0, len(model["classes"])
    for i in range(n):
        for j in range(i + 1, n):
            own, other = slice(ends[i], ends[i + 1]), slice(ends[j], ends[j + 1])
            value = kernel[:, own] @ model["weights"][j - 1, own] + kernel[:, other] @ model["weights"][i, other]
            found.append(value + model["offsets"][pair])
            pair += 1
    # with two classes scikit-learn counts the other way round: above 0 is the second
    return np.stack(found, axis=1) * (-1.0 if n == 2 else 1.0)


def predict_svm(model: Model, volume: Volume) -> Labels:
    """The class that wins most pairs in each voxel; of equals the lower."""

    def best(rows: Rows) -> Array:
        decisions, n = svm_decisions(model, rows), len(model["classes"])
        votes, pair = np.zeros((len(rows), n), np.int32), 0
        for i in range(n):
            for j in range(i + 1, n):
                first = decisions[:, pair] > 0
                votes[:, i] += first
                votes[:, j] += ~first
                pair += 1
        return np.asarray(votes.argmax(axis=1))

    return _by_rows(model, volume, best, max(1, KERNEL // max(1, len(model["vectors"]))))


def fit_mean_shape(cases: Iterable[Labelled], n_classes: int, *, box: Shape = (48, 48, 48)) -> Model:
    """How often each class lies at each place of the image: a guess that has not seen the image.

    Parameters
    ----------
    cases, n_classes
        As in `fit_forest`; the images play no part.
    box : (int, int, int)
        Places along z, y, x that every image is divided into; an axis of one voxel stays so.

    Notes
    -----
    Source: the atlas guess without registration; a floor that a method must beat.
    """
    total: npt.NDArray[np.float64] | None = None
    for _, label in cases:
        sides = tuple(1 if m == 1 else b for m, b in zip(label.shape, box, strict=True))
        # The classes, and last what was judged at all: a case speaks of these places alone.
        masks = [*(label == value for value in range(1, n_classes + 1)), label != IGNORE]
        here = np.stack([_resized(mask.astype(np.float32), sides) for mask in masks])
        total = here.astype(np.float64) if total is None else total + here
    if total is None:
        raise SettingsError("a mean shape needs labelled cases")
    *found, judged = total
    return {"share": (np.stack(found) / np.maximum(judged, 1e-6)).astype(np.float32)}


def predict_mean_shape(model: Model, volume: Volume) -> Labels:
    """The most frequent class at each place, background among them; of equals the lower."""
    shares = [_resized(share, volume.grid.shape) for share in model["share"]]
    return np.asarray(np.stack([1 - np.sum(shares, axis=0), *shares]).argmax(axis=0), dtype=np.uint8)


def fit_ellipsoid(cases: Iterable[Labelled], n_classes: int, *, sizes: int = 40) -> Model:
    """One ellipsoid in the middle of every image: the size with the largest mean Dice on the cases.

    Its axes are in proportion to the mean extents of class 1, as shares of the image's sides; other classes are left
    out.

    Raises
    ------
    SettingsError
        When no case has a voxel of class 1.
    """
    del n_classes
    thin = (thinned(np.asarray(label)) for _, label in cases)
    known = [label for label in thin if (label == 1).any()]
    extents = [
        [(np.ptp(np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))) + 1) / mask.shape[axis] for axis in range(3)]
        for mask in (label == 1 for label in known)
    ]
    if not extents:
        raise SettingsError("an ellipsoid needs a case with class 1")
    mean = np.mean(extents, axis=0)
    tried = [mean * factor for factor in np.linspace(0.3, 1.6, sizes)]
    scores = [
        np.mean([_dice(label == 1, ellipsoid(label.shape, sides) & (label != IGNORE)) for label in known])
        for sides in tried
    ]
    return {"sides": tried[int(np.argmax(scores))]}


def thinned(label: Array, most: int = 96) -> Array:
    """A label at no more than so many places along each axis, evenly: many cases are held in memory together."""
    places = [((np.arange(k) + 0.5) * n / k).astype(int) for n in label.shape for k in (min(n, most),)]
    return np.asarray(label[np.ix_(*places)])


def predict_ellipsoid(model: Model, volume: Volume) -> Labels:
    """The ellipsoid as class 1."""
    return ellipsoid(volume.grid.shape, model["sides"]).astype(np.uint8)


def ellipsoid(shape: Sequence[int], sides: Array) -> npt.NDArray[np.bool_]:
    """A centred ellipsoid whose axes are shares of the sides of an image."""
    axes = np.ogrid[tuple(slice(n) for n in shape)]
    far = sum(
        ((axis - (n - 1) / 2) / max(n * side / 2, 0.5)) ** 2 for axis, n, side in zip(axes, shape, sides, strict=True)
    )
    return np.asarray(far <= 1)


def vote(labels: Sequence[Labels]) -> Labels:
    """The class that most labels give to each voxel; of equals the lower, background among them.

    Parameters
    ----------
    labels : sequence of uint8 array, shape (z, y, x)
        At least one.
    """
    if len(labels) == 1:
        return labels[0]
    found = np.zeros(labels[0].shape, np.uint8)
    most = np.zeros(found.shape, np.uint16)
    for value in range(max(int(label.max(initial=0)) for label in labels) + 1):
        votes = np.zeros(found.shape, np.uint16)
        for label in labels:
            votes += label == value
        found[votes > most] = value
        np.maximum(most, votes, out=most)
    return found


LEARNERS: dict[str, Learner] = {
    "forest": Learner(fit_forest, predict_forest),
    "svm": Learner(fit_svm, predict_svm),
    "mean_shape": Learner(fit_mean_shape, predict_mean_shape),
    "ellipsoid": Learner(fit_ellipsoid, predict_ellipsoid),
}


def _feature_settings(scales_mm: Sequence[float], position: bool) -> Model:
    return {"scales_mm": np.array(scales_mm, dtype=np.float64), "position": np.array([position], dtype=np.uint8)}


def _by_rows(model: Model, volume: Volume, number: Callable[[Rows], Array], group: int) -> Labels:
    """Classify all voxels in groups of so many; the numbers are places in `classes`."""
    features = bank(volume, model["scales_mm"].tolist(), position=bool(model["position"][0]))
    flat = features.reshape(len(features), -1)
    out = np.empty(flat.shape[1], np.uint8)
    for first in range(0, out.size, group):
        out[first : first + group] = model["classes"][number(np.ascontiguousarray(flat[:, first : first + group].T))]
    return out.reshape(volume.grid.shape)


def _resized(values: npt.NDArray[np.float32], shape: Sequence[int]) -> npt.NDArray[np.float32]:
    """Linear interpolation onto another division of the same box."""
    from scipy import ndimage

    at = [np.clip((np.arange(n) + 0.5) * old / n - 0.5, 0, old - 1) for n, old in zip(shape, values.shape, strict=True)]
    places = np.meshgrid(*at, indexing="ij")
    return np.asarray(ndimage.map_coordinates(values, places, order=1, mode="nearest"), dtype=np.float32)


def _dice(reference: Array, prediction: Array) -> float:
    return 2.0 * float((reference & prediction).sum()) / max(float(reference.sum() + prediction.sum()), 1.0)
