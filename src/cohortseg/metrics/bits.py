"""Masks with one bit for each voxel: an eighth of the memory, and 64 voxels in one operation.

All that is counted or compared of two masks is done on these. Rows run along x; a row is filled up to whole words of
64 bits with zeros, so what lies beyond the image counts as background.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cohortseg.volume import Shape

Mask = npt.NDArray[np.bool_]
Words = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int64]

WORD = 64


@dataclass(frozen=True)
class Bits:
    """A mask with one bit for each voxel.

    Parameters
    ----------
    words : uint64 array, shape (z, y, words)
        Bit k of word w is the voxel x = 64 w + k.
    shape : (int, int, int)
        Voxels along z, y, x; bits from x on are zero.
    corner : (int, int, int)
        Index (z, y, x) of the first voxel in the image that the mask was cut from.
    """

    words: Words
    shape: Shape
    corner: Shape = (0, 0, 0)

    @property
    def size(self) -> int:
        """Number of voxels of the image."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def count(self) -> int:
        """Number of voxels of the mask."""
        return count(self.words)


def check_masks(reference: Mask, prediction: Mask) -> None:
    """Refuse what cannot be compared.

    Raises
    ------
    ValueError
        When the shapes differ, the arrays are not (z, y, x) or not boolean.
    """
    if reference.shape != prediction.shape:
        raise ValueError(f"reference has shape {reference.shape}, prediction {prediction.shape}")
    if reference.ndim != 3:
        raise ValueError(f"masks must have axes (z, y, x), got shape {reference.shape}")
    if reference.dtype != np.bool_ or prediction.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {reference.dtype} and {prediction.dtype}")


def pack(mask: Mask) -> Bits:
    """A boolean array (z, y, x) as bits."""
    z, y, x = mask.shape
    room = np.zeros((z, y, -(-x // WORD) * WORD // 8), np.uint8)
    room[..., : -(-x // 8)] = np.packbits(mask, axis=-1, bitorder="little")
    return Bits(room.view("<u8").astype(np.uint64, copy=False), (z, y, x))


def pack_pair(reference: Mask, prediction: Mask) -> tuple[Bits, Bits]:
    """Both masks of a comparison as bits.

    Raises
    ------
    ValueError
        See `check_masks`.
    """
    check_masks(reference, prediction)
    return pack(reference), pack(prediction)


def unpack(bits: Bits) -> Mask:
    """The boolean array (z, y, x) again."""
    z, y, x = bits.shape
    inner = bits.words.astype("<u8", copy=False).view(np.uint8).reshape(z, y, -1)
    return np.unpackbits(inner, axis=-1, count=x, bitorder="little").view(np.bool_)


def count(words: Words) -> int:
    """Number of bits that are set."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def moved_up(words: Words) -> Words:
    """Every bit one voxel further along x; the last bit of a row of words drops out."""
    moved = words << np.uint64(1)
    moved[..., 1:] |= words[..., :-1] >> np.uint64(WORD - 1)
    return moved


def moved_down(words: Words) -> Words:
    """Every bit one voxel back along x."""
    moved = words >> np.uint64(1)
    moved[..., :-1] |= words[..., 1:] << np.uint64(WORD - 1)
    return moved


def positions(words: Words) -> tuple[Indices, Indices]:
    """Where bits are set: number of the row (z * y of the image) and x, in index order.

    Returns
    -------
    (int64 array, int64 array), both of shape (bits,)
    """
    flat = words.reshape(-1)
    places = np.flatnonzero(flat != 0)  # booleans are searched several times as quickly as numbers
    inner = flat[places].astype("<u8", copy=False).view(np.uint8)
    bit = np.flatnonzero(np.unpackbits(inner, bitorder="little").view(np.bool_))
    word = places[bit // WORD]
    per_row = words.shape[-1]
    return word // per_row, word % per_row * WORD + bit % WORD


def crop_to_union(reference: Bits, prediction: Bits) -> tuple[Bits, Bits]:
    """Both masks cut to the box that holds them, with a margin wherever the image goes on.

    The margin, one voxel along z and y and at most two words along x, tells a mask that is one voxel thick from an
    image that is. Both masks empty: an empty box.
    """
    either = reference.words | prediction.words
    rows = np.asarray(either.any(axis=2))
    z, y = _span(np.asarray(rows.any(axis=1))), _span(np.asarray(rows.any(axis=0)))
    words = _span(np.asarray(either.any(axis=(0, 1))))
    n_x = max(0, min(reference.shape[2], WORD * words.stop) - WORD * words.start)
    shape = (z.stop - z.start, y.stop - y.start, n_x)
    corner = (z.start, y.start, WORD * words.start)
    first, second = (np.ascontiguousarray(bits.words[z, y, words]) for bits in (reference, prediction))
    return Bits(first, shape, corner), Bits(second, shape, corner)


def _span(hits: Mask) -> slice:
    """From the first to the last hit, one wider, inside the array."""
    found = np.flatnonzero(hits)
    if not found.size:
        return slice(0, 0)
    return slice(max(int(found[0]) - 1, 0), min(int(found[-1]) + 2, hits.size))
