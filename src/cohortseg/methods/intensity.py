"""One image from the intensities of another, without a network: the mean, a line, the quantiles, or nothing at all.

They see no neighbourhood: what a network gains over them it gains by looking around. Inside and outside are those of
the body of the input, because the target is not known when an image is made.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.methods.body import body_mask
from cohortseg.volume import Array

Floats = npt.NDArray[np.float32]
Model = dict[str, npt.NDArray[np.float64]]
Pair = tuple[Array, Array]
"""Input and target of one case, both (z, y, x) on one grid."""

QUANTILES = 201
"""Points of the cumulated histograms."""


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


def learn(pairs: Iterable[Pair], *, rule: str) -> Model:
    """What a rule takes from the training cases.

    Parameters
    ----------
    pairs : iterable
        Input and target of each case, at least one; one is held at a time.
    rule : str
        'input' or a key of `RULES`.

    Returns
    -------
    dict
        `inside`: the numbers of the rule, mean over the cases that have an inside; `outside`: the mean over the cases
        of the mean of the target outside the body of the input, 0 where no case has an outside.
    """
    inside, outside = [], []
    for own, other in pairs:
        if rule == "input":
            continue
        body = body_mask(own)
        if body.any():
            found = choose("rule", rule, RULES)
            inside.append(found.learn(own[body].astype(np.float64), other[body].astype(np.float64)))
        if not body.all():
            outside.append(float(other[~body].astype(np.float64).mean()))
    nothing = np.zeros(QUANTILES if rule == "histogram" else 2)
    return {
        "inside": np.mean(inside, axis=0) if inside else nothing,
        "outside": np.array([np.mean(outside) if outside else 0.0]),
    }


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
    body = body_mask(own)
    found: Floats = np.full(own.shape, model["outside"][0], np.float32)
    if body.any():
        found[body] = choose("rule", rule, RULES).make(own[body].astype(np.float64), model["inside"])
    return np.clip(found, low, high)
