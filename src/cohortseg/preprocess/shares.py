"""Values of an image as shares of a range, as networks are trained on them, and back."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


def to_values(shares: Floats, low: float, high: float) -> Floats:
    """Shares of a range (0 is `low`, 1 is `high`) as values of it; what a network gives beyond is clipped."""
    values: Floats = np.clip(shares, 0.0, 1.0) * np.float32(high - low) + np.float32(low)
    return values.astype(np.float32, copy=False)


def to_shares(values: npt.NDArray[np.generic], low: float, high: float) -> Floats:
    """The inverse of `to_values`; values beyond the range are clipped to its ends."""
    shares: Floats = (np.clip(np.asarray(values, np.float32), low, high) - np.float32(low)) / np.float32(high - low)
    return shares
