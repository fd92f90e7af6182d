"""Random patches of a cohort: a pure function of seed and step, so that a resumed run needs only the step number."""

from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from cohortseg.errors import SettingsError
from cohortseg.ignored import is_labelled
from cohortseg.infer.sliding import ArrayLike, read_region
from cohortseg.train.team import Share, rows_of
from cohortseg.volume import Shape

Batch = tuple[npt.NDArray[np.float32], npt.NDArray[np.int64] | npt.NDArray[np.float32]]

TRIES = 10
"""Patches looked at to find one without a labelled voxel."""
READY = 2
"""Batches that are cut ahead of the training."""


@dataclass(frozen=True)
class Case:
    """What training needs of one case.

    Parameters
    ----------
    image : array-like, shape (z, y, x) or (channel, z, y, x)
        Model-space intensities, numpy or zarr.
    label : array-like, integers, shape (z, y, x)
        Classes, 0 the background, `IGNORE` what nobody labelled; floats are the values of an image that is to be made.
    foreground : int32 array, shape (n, 4)
        Rows (class, z, y, x): labelled voxels, all or a sample per class; no rows where nothing is labelled.
    """

    image: ArrayLike
    label: ArrayLike
    foreground: npt.NDArray[np.int32]


class Source(Protocol):
    """What the training loop draws from."""

    @property
    def steps_per_epoch(self) -> float:
        """Steps after which as many patches were drawn as there are cases."""

    def batch(self, step: int) -> Batch:
        """The batch of a step, always the same one."""


def foreground_rows(label: npt.ArrayLike, *, per_class: int = 10_000, seed: int = 0) -> npt.NDArray[np.int32]:
    """Rows (class, z, y, x) of labelled voxels, at most `per_class` of each class, drawn without replacement.

    Parameters
    ----------
    label : int array, shape (z, y, x)
        Classes, 0 the background.
    per_class : int
        Most rows of one class.
    seed : int
        Decides which voxels are kept.

    Returns
    -------
    int32 array, shape (n, 4)
        Sorted; empty when nothing is labelled.
    """
    array = np.asarray(label)
    generator = np.random.Generator(np.random.Philox(seed))
    places = np.flatnonzero(is_labelled(array))
    values = array.ravel()[places]
    rows = []
    for number in np.unique(values):
        found = places[values == number]
        if len(found) > per_class:
            found = np.sort(generator.choice(found, per_class, replace=False))
        rows.append(np.column_stack([np.full(len(found), number), *np.unravel_index(found, array.shape)]))
    return np.concatenate(rows or [np.empty((0, 4))]).astype(np.int32)


@dataclass(frozen=True)
class PatchSource:
    """Batches of random patches; make one with `patch_source`, which checks and caches.

    Parameters
    ----------
    cases : sequence of Case
        Training cases.
    patch : (int, int, int)
        Size (z, y, x); one slice (z = 1) for a 2D network.
    batch_size : int
        Patches per step.
    foreground_share : float in [0, 1]
        Share of patches centred on a labelled voxel (as near as the border allows): a case that has some, then one of
        its classes, then one of its voxels, each uniformly. The other patches lie uniformly in any case.
    seed : int
        With the step, decides everything that is drawn.
    balance : {'case', 'class'}
        Of a patch on a labelled voxel: first a case, then one of its classes; or first a class of the cohort, then a
        case that has it, so that rare classes are seen as often as others.
    negative_share : float in [0, 1]
        Share of patches without a labelled voxel, as far as ten tries in any case find one.
    share : Share, optional
        The rows of each batch that this process trains on; the others are drawn and not read.
    """

    cases: Sequence[Case]
    patch: Shape
    batch_size: int
    foreground_share: float
    seed: int
    balance: str = "case"
    negative_share: float = 0.0
    share: Share | None = None

    @cached_property
    def labelled(self) -> list[int]:
        """Numbers of the cases that have labelled voxels."""
        return [number for number, case in enumerate(self.cases) if len(case.foreground)]

    @cached_property
    def by_class(self) -> dict[int, list[int]]:
        """Numbers of the cases that have labelled voxels of each class."""
        found: dict[int, list[int]] = {}
        for number in self.labelled:
            for value in np.unique(self.cases[number].foreground[:, 0]):
                found.setdefault(int(value), []).append(number)
        return dict(sorted(found.items()))

    @property
    def steps_per_epoch(self) -> float:
        """Steps after which as many patches were drawn as there are cases."""
        return len(self.cases) / self.batch_size

    def batch(self, step: int) -> Batch:
        """Images float32 (n, channel, z, y, x) and labels int64 (n, z, y, x); without z for patches of one slice.

        Labels that are floats, the values of an image, stay floats (float32).
        """
        generator = np.random.Generator(np.random.Philox(np.random.SeedSequence([self.seed, step])))
        n_foreground = _whole(self.batch_size * self.foreground_share, generator)
        n_negative = _whole(self.batch_size * self.negative_share, generator) if self.negative_share else 0
        draws = [self._foreground] * n_foreground + [self._negative] * min(n_negative, self.batch_size - n_foreground)
        draws += [self._anywhere] * (self.batch_size - len(draws))
        drawn = rows_of([draw(generator) for draw in draws], self.share)
        images = np.stack([read_region(case.image, start, self.patch) for case, start in drawn])
        labels: npt.NDArray[Any] = np.stack([_label_region(case.label, start, self.patch) for case, start in drawn])
        return (images[:, :, 0], labels[:, 0]) if self.patch[0] == 1 else (images, labels)

    def _foreground(self, generator: np.random.Generator) -> tuple[Case, Shape]:
        """A case, and the first voxel of a patch centred on a labelled voxel of it."""
        if not self.labelled:
            return self._anywhere(generator)
        if self.balance == "class":
            value = list(self.by_class)[generator.integers(len(self.by_class))]
            case = self.cases[self.by_class[value][generator.integers(len(self.by_class[value]))]]
        else:
            case = self.cases[self.labelled[generator.integers(len(self.labelled))]]
            value = generator.choice(np.unique(case.foreground[:, 0]))
        rows = case.foreground[case.foreground[:, 0] == value]
        centre = rows[generator.integers(len(rows)), 1:]
        start = [int(voxel) - length // 2 for voxel, length in zip(centre, self.patch, strict=True)]
        z, y, x = (
            min(max(first, min(0, size - length)), max(0, size - length))
            for first, size, length in zip(start, case.image.shape[-3:], self.patch, strict=True)
        )
        return case, (z, y, x)

    def _anywhere(self, generator: np.random.Generator) -> tuple[Case, Shape]:
        """A case and the first voxel of a patch in it, both uniform."""
        case = self.cases[int(generator.integers(len(self.cases)))]
        room = [size - length for size, length in zip(case.image.shape[-3:], self.patch, strict=True)]
        z, y, x = (int(generator.integers(min(0, free), max(0, free) + 1)) for free in room)
        return case, (z, y, x)

    def _negative(self, generator: np.random.Generator) -> tuple[Case, Shape]:
        """A patch without a labelled voxel; the last of ten tries where none has been found."""
        for _ in range(TRIES):
            case, start = self._anywhere(generator)
            if not len(case.foreground) or not is_labelled(_label_region(case.label, start, self.patch)).any():
                break
        return case, start


def _whole(wanted: float, generator: np.random.Generator) -> int:
    """A whole number that is `wanted` on average."""
    return int(wanted) + int(generator.random() < wanted % 1.0)


def _label_region(label: ArrayLike, start: Shape, patch: Shape) -> npt.NDArray[np.int64] | npt.NDArray[np.float32]:
    region: npt.NDArray[np.float32] = read_region(label, start, patch)[0]
    is_image = np.issubdtype(getattr(label, "dtype", np.int64), np.floating)
    return region if is_image else region.astype(np.int64)


def patch_source(  # noqa: PLR0913 (each has its name)
    cases: Sequence[Case],
    *,
    patch: Shape,
    batch_size: int,
    foreground_share: float,
    seed: int,
    balance: str = "case",
    negative_share: float = 0.0,
    share: Share | None = None,
    cache_mb: float = 4096.0,
) -> PatchSource:
    """A source whose first cases, up to `cache_mb`, lie decoded in memory; of the others only patches are read.

    Raises
    ------
    SettingsError
        When there is no case, or a number makes no sense.
    """
    if not cases:
        raise SettingsError("there is no case to train on")
    if min(patch) < 1 or batch_size < 1 or not 0.0 <= foreground_share <= 1.0:
        raise SettingsError(f"impossible patch, batch or share: {patch}, {batch_size}, {foreground_share}")
    if balance not in ("case", "class") or not 0.0 <= negative_share <= 1.0 - foreground_share:
        raise SettingsError(
            f"balance is case or class, both shares together at most 1; got {balance}, {negative_share}"
        )
    left = cache_mb * 1e6
    held = []
    for case in cases:
        left -= _bytes(case.image) + _bytes(case.label)
        held.append(replace(case, image=case.image[...], label=case.label[...]) if left >= 0 else case)
    return PatchSource(tuple(held), patch, batch_size, foreground_share, seed, balance, negative_share, share)


def _bytes(array: ArrayLike) -> int:
    return int(np.prod(array.shape)) * int(np.dtype(getattr(array, "dtype", np.float64)).itemsize)


def prefetch(source: Source, first: int, last: int) -> Generator[Batch, None, None]:
    """The batches of steps `first` to `last` (exclusive), in order, cut ahead by one worker thread."""
    with ThreadPoolExecutor(1) as worker:
        waiting: deque[Future[Batch]] = deque()
        try:
            for step in range(first, last):
                waiting.append(worker.submit(source.batch, step))
                if len(waiting) > READY:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
