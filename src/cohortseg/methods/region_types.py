"""The type of a region by its features: a support vector machine with a Gaussian kernel, kept as named arrays."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.methods.learned import Model, machine, svm_decisions

Floats = npt.NDArray[np.float64]


def fit_types(rows: Floats, types: Sequence[int], *, penalty: float = 1.0) -> Model:
    """Learn types from the features of regions.

    Parameters
    ----------
    rows : float array, shape (regions, features)
        They are scaled to mean 0 and deviation 1 by these regions alone.
    types : sequence of int
        Number of the type of each, below 256.
    penalty : float
        C, for a type of average frequency: rarer ones weigh more, so that all types together weigh the same.

    Returns
    -------
    dict of arrays
        What `predict_types` needs; ready for safetensors.

    Raises
    ------
    SettingsError
        For fewer than two types.

    Notes
    -----
    Source: Cortes & Vapnik 1995, Mach. Learn. 20(3).
    """
    numbers = np.asarray(types, np.uint8)
    if np.unique(numbers).size < 2:
        raise SettingsError("a classifier of types needs cases of at least two")
    return machine(np.asarray(rows, np.float64), numbers, penalty=penalty, balanced=True)


def predict_types(model: Model, rows: Floats) -> tuple[npt.NDArray[np.uint8], Floats]:
    """The type of each region, and a score of each type.

    Returns
    -------
    types : uint8 array, shape (regions,)
        The type with the highest score; of equals the lower.
    scores : float array, shape (regions, types of the model)
        In the order of `model["classes"]`: mean over its pairs of the logistic function of the distance from their
        border. From 0 to 1; no calibrated probabilities.
    """
    decisions, n = svm_decisions(model, np.asarray(rows, np.float64)), len(model["classes"])
    scores, pair = np.zeros((len(decisions), n)), 0
    for i in range(n):
        for j in range(i + 1, n):
            first = 1.0 / (1.0 + np.exp(-np.clip(decisions[:, pair], -500, 500)))
            scores[:, i] += first
            scores[:, j] += 1.0 - first
            pair += 1
    return model["classes"][scores.argmax(axis=1)], scores / (n - 1)
