"""One image from the intensities of another, without a network: the mean, a line, the quantiles, or nothing at all.

They see no neighbourhood: what a network gains over them it gains by looking around. Inside and outside are those of
the body of the input, because the target is not known when an image is made: what is brighter than a share of its
brightest voxels. Which share, is learnt as well: the one whose bodies are most like those of the targets. (Otsu's
threshold parts fat from muscle in a T1-weighted MR, which would be an easy rival.)
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.methods.body import body_mask
from cohortseg.methods.regions import Mask
from cohortseg.volume import Array

Floats = npt.NDArray[np.float32]
Model = dict[str, npt.NDArray[np.float64]]
Pair = tuple[Array, Array]
"""Input and target of one case, both (z, y, x) on one grid."""

QUANTILES = 201
"""Points of the cumulated histograms."""
SHARES = (0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.14, 0.2, 0.28, 0.4)
"""Shares of the bright end (percentile 99.5) above which a voxel of the input may be body."""


@dataclass(frozen=True)
class Rule:
    """An entry of `RULES`: what it learns of the inside of one case, and what it makes of the inside of an input.

    Parameters
    ----------
    learn : callable
        Input and target inside the body, arrays (n,), to numbers; those of several cases are averaged, each counting
        the same.
    make : callable
        Input inside the body, array (n,), and the averaged numbers, to values of the target.
    source : str
        Where it is described.
    """

    learn: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    make: Callable[[npt.NDArray[np.float64], npt.NDArray[np.float64]], npt.NDArray[np.float64]]
    source: str


def _standard(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Minus the mean, over the standard deviation: intensities of MR mean nothing from scan to scan."""
    spread = float(values.std())
    standard: npt.NDArray[np.float64] = (values - values.mean()) / (spread or 1.0)
    return standard


def _mean(_: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.array([float(other.mean())])


def _quantiles(_: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.quantile(other, np.linspace(0.0, 1.0, QUANTILES)))


def _slope_and_level(own: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    standard = _standard(own)
    return np.array([float((standard * (other - other.mean())).mean()), float(other.mean())])


def _of_rank(own: npt.NDArray[np.float64], quantiles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    shares = np.linspace(0.0, 1.0, QUANTILES)
    # Equal quantiles of the input have no rank among them: the middle one.
    edges, first, counts = np.unique(np.quantile(own, shares), return_index=True, return_counts=True)
    found: npt.NDArray[np.float64] = np.interp(
        own, edges, np.interp(shares[first] + (counts - 1) / 2 * shares[1], shares, quantiles)
    )
    return found


RULES: dict[str, Rule] = {
    "mean": Rule(_mean, lambda own, found: np.full(own.shape, found[0]), "-"),
    "linear": Rule(
        _slope_and_level,
        lambda own, found: _standard(own) * found[0] + found[1],
        "least squares on the standardised intensities of each case",
    ),
    "histogram": Rule(
        _quantiles,
        _of_rank,
        "Nyul & Udupa 1999, with 201 landmarks",
    ),
}
"""Rules that learn; `input` learns nothing, see `make`."""


def learn(pairs: Callable[[], Iterable[Pair]], *, rule: str, above: float | None = None) -> Model:
    """What a rule takes from the training cases.

    Parameters
    ----------
    pairs : callable
        Gives input and target of each case, at least one, in two passes; one is held at a time.
    rule : str
        'input' or a key of `RULES`.
    above : float, optional
        Value of the target above which is body, as in `body.body_mask`.

    Returns
    -------
    dict
        `level`: the share of the bright end of the input above which is body; `inside`: the numbers of the rule, mean
        over the cases that have an inside; `outside`: the mean over the cases of the mean of the target outside the
        body of the input, 0 where no case has an outside.
    """
    if rule == "input":
        return {"level": np.zeros(1), "inside": np.zeros(2), "outside": np.zeros(1)}
    level = best_level(pairs(), above)
    inside, outside = [], []
    for own, other in pairs():
        body = body_of_input(own, level)
        if body.any():
            found = choose("rule", rule, RULES)
            inside.append(found.learn(own[body].astype(np.float64), other[body].astype(np.float64)))
        if not body.all():
            outside.append(float(other[~body].astype(np.float64).mean()))
    nothing = np.zeros(QUANTILES if rule == "histogram" else 2)
    return {
        "level": np.array([level]),
        "inside": np.mean(inside, axis=0) if inside else nothing,
        "outside": np.array([np.mean(outside) if outside else 0.0]),
    }


def body_of_input(own: Array, level: float) -> Mask:
    """What is brighter than a share of the bright end; all of an image of one single value."""
    if float(own.min()) == float(own.max()):
        return np.ones(own.shape, bool)
    return body_mask(own, level * float(np.percentile(own, 99.5)))


def best_level(pairs: Iterable[Pair], above: float | None) -> float:
    """The share whose bodies of the inputs are most like those of the targets: largest mean Dice, of equals the first.

    Cases whose target has no body say nothing.
    """
    likeness = []
    for own, other in pairs:
        target = body_mask(other, above)
        if target.any():
            found = [body_of_input(own, level) for level in SHARES]
            likeness.append([2.0 * float((body & target).sum()) / float(body.sum() + target.sum()) for body in found])
    return SHARES[int(np.mean(likeness, axis=0).argmax())] if likeness else SHARES[0]


def make(own: Array, model: Model, *, rule: str, low: float, high: float) -> Floats:
    """The image that a rule makes.

    Parameters
    ----------
    own : array, shape (z, y, x)
        Input.
    model : dict
        From `learn`.
    rule : str
        As there.
    low, high : float
        Range of the target, to which the result is clipped.

    Returns
    -------
    float32 array, shape (z, y, x)
    """
    if rule == "input":
        return np.clip(own.astype(np.float32), low, high)
    body = body_of_input(own, float(model["level"][0]))
    found: Floats = np.full(own.shape, model["outside"][0], np.float32)
    if body.any():
        found[body] = choose("rule", rule, RULES).make(own[body].astype(np.float64), model["inside"])
    return np.clip(found, low, high)
