"""How sure a prediction is, voxel by voxel, from probabilities that come class by class."""

import numpy as np

from cohortseg.infer.blend import Floats


class Entropy:
    """Entropy of the mean probabilities, and the part of it that comes from disagreement.

    The entropy of a mean is never below the mean of the entropies; the difference is the mutual information between
    the label and whatever was averaged over: the networks of an ensemble and the tiles that overlap.

    References
    ----------
    Shannon 1948; Houlsby et al. 2011 (BALD); for ensembles Lakshminarayanan et al. 2017.
    """

    def __init__(self) -> None:
        self._bits: Floats | None = None

    def add(self, probability: Floats) -> None:
        """Count in one class: float32 array of any shape, all of one shape."""
        bits = probability * -np.log2(np.maximum(probability, np.float32(1e-30)))
        self._bits = bits if self._bits is None else self._bits + bits

    def parts(self, mean_entropy: Floats) -> tuple[Floats, Floats]:
        """Entropy and disagreement in bits, both at least 0; `mean_entropy` is the mean of the members' entropies."""
        total = np.zeros_like(mean_entropy) if self._bits is None else np.maximum(self._bits, 0.0)
        return total, np.clip(total - mean_entropy, 0.0, None)
