"""How the sizes of image and result go together: what training and sliding window must know of a network."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cohortseg.errors import SettingsError


@dataclass(frozen=True)
class Extent:
    """Sizes that a network takes and gives, and how far it looks, per axis (z, y, x or y, x).

    Parameters
    ----------
    alignment : tuple of int
        Allowed sizes are this far apart, and tiles whose results shall be those of the whole image are displaced by
        multiples of it.
    smallest : tuple of int
        Smallest allowed size; the others are `alignment` apart.
    margin : tuple of int
        Voxels at each end that the result lacks (convolutions without padding); zeros where it has the image's size.
    context : tuple of int, optional
        Voxels at each side of a voxel that can change its result; None where a norm over the tile or a bottleneck lets
        every voxel count.
    scale : tuple of int, optional
        Voxels of the result for one of the image; ones where absent.
    """

    alignment: tuple[int, ...]
    smallest: tuple[int, ...]
    margin: tuple[int, ...]
    context: tuple[int, ...] | None = None
    scale: tuple[int, ...] | None = None

    @property
    def is_smaller(self) -> bool:
        """Whether the result lacks a margin of the image."""
        return any(self.margin)

    def fits(self, size: Sequence[int]) -> bool:
        """Whether an image of this size can go through."""
        return all(
            n >= least and (n - least) % step == 0
            for n, least, step in zip(size, self.smallest, self.alignment, strict=True)
        )

    def output_size(self, size: Sequence[int]) -> tuple[int, ...]:
        """Size of the result.

        Raises
        ------
        SettingsError
            When an image of this size cannot go through; the message names the next that can.
        """
        if not self.fits(size):
            raise SettingsError(f"a size of {tuple(size)} does not pass; the next that does is {self.at_least(size)}")
        lost = [n - 2 * margin for n, margin in zip(size, self.margin, strict=True)]
        return tuple(n * factor for n, factor in zip(lost, self.scale or (1,) * len(lost), strict=True))

    def at_least(self, size: Sequence[int]) -> tuple[int, ...]:
        """The smallest allowed size that is no smaller than this, per axis."""
        return tuple(
            least + max(0, math.ceil((n - least) / step)) * step
            for n, least, step in zip(size, self.smallest, self.alignment, strict=True)
        )

    def input_size(self, result: Sequence[int]) -> tuple[int, ...]:
        """The smallest allowed size whose result (before `scale`) is no smaller than this."""
        return self.at_least([n + 2 * margin for n, margin in zip(result, self.margin, strict=True)])


def same(dims: int, alignment: int = 1, *, smallest: int | None = None, context: int | None = None) -> Extent:
    """The extent of a network whose result has the image's size, alike along all axes."""
    around = None if context is None else (context,) * dims
    return Extent((alignment,) * dims, (smallest or alignment,) * dims, (0,) * dims, around)


def unpadded(dims: int, n_levels: int, convolutions: int = 2) -> Extent:
    """The extent of a U-Net of 3-wide convolutions without padding, that many per level and path, and halvings.

    Examples
    --------
    >>> extent = unpadded(2, 5)
    >>> extent.smallest, extent.alignment, extent.output_size((572, 572))
    ((188, 188), (16, 16), (388, 388))
    """
    lost, alignment = 2 * convolutions, 2 ** (n_levels - 1)
    coarse, result = lost, 0
    while result < 1:
        coarse += 1
        size, result = coarse, coarse - lost
        for _ in range(n_levels - 1):  # each level is twice the pooled size of the one below, and its convolutions more
            size, result = 2 * size + lost, 2 * result - lost
    margin = (size - result) // 2
    # A voxel sees all that its cells at the coarser levels see, wherever it lies in them.
    context = margin + alignment - 1
    return Extent((alignment,) * dims, (size,) * dims, (margin,) * dims, (context,) * dims)
