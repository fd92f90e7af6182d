"""An image with a label as further channels, one for each class; of both only the wanted region is read."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from cohortseg.infer.sliding import ArrayLike
from cohortseg.volume import Array


@dataclass(frozen=True)
class WithOneHot:
    """What a network of a cascade sees.

    Parameters
    ----------
    image : array-like, shape (z, y, x) or (channel, z, y, x)
        Numpy or zarr.
    label : array-like, integers, shape (z, y, x)
        On the same grid; what is no class number counts as background.
    n_classes : int
        Without the background, which has no channel.
    """

    image: ArrayLike
    label: ArrayLike
    n_classes: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Channels of the image and classes, then z, y, x."""
        n_channels = self.image.shape[0] if len(self.image.shape) == 4 else 1
        return (n_channels + self.n_classes, *self.image.shape[-3:])

    @property
    def dtype(self) -> Any:
        """That of the image."""
        return np.dtype(getattr(self.image, "dtype", np.float32))

    def __getitem__(self, key: Any, /) -> Any:
        """The region of slices along z, y, x, with all channels; `...` alone is the same with both in memory."""
        if key is ...:
            return WithOneHot(np.asarray(self.image[...]), np.asarray(self.label[...]), self.n_classes)
        image = np.asarray(self.image[key])
        label = np.asarray(self.label[key])
        channels: Array = image if image.ndim == 4 else image[np.newaxis]
        classes = np.arange(1, self.n_classes + 1, dtype=label.dtype).reshape(-1, 1, 1, 1)
        return np.concatenate([channels, (label[np.newaxis] == classes).astype(channels.dtype)])
