"""Which slice of a labelled volume a figure shows."""

import numpy as np

from cohortseg.volume import Array


def key_slice(reference: Array | None, prediction: Array | None) -> int:
    """The slice to show: the first with the largest labelled area of the reference, else of the prediction.

    Parameters
    ----------
    reference, prediction : bool or integer array, shape (z, y, x), or None

    Returns
    -------
    int
        Index along z; the middle slice when both are empty.

    Raises
    ------
    ValueError
        When both are None.
    """
    labels = [label for label in (reference, prediction) if label is not None]
    if not labels:
        raise ValueError("key_slice needs a reference or a prediction")
    for label in labels:
        area = np.count_nonzero(label, axis=(1, 2))
        if area.any():
            return int(area.argmax())
    return int(labels[0].shape[0] // 2)
