"""What a job needs of a machine, from the header of its cases: memory and seconds, as straight lines in the voxels.

The lines of `stages.STAGES` are shipped, and generous. As soon as a study has records of its own, lines are fitted to
them: seconds by least squares without negative parts, memory raised until it covers every record. What a case asks for
is the line times a margin.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cohortseg.stages import STAGES

ENOUGH = 8
"""Records of a stage below which the shipped line stands."""
WIDE = 1.5
"""Largest over smallest case above which a slope can be told from the records; below it the shipped slope stands."""
MEMORY_MARGIN, TIME_MARGIN = 1.25, 2.0
START_MB, START_MINUTES = 300.0, 10.0
"""What a job takes beside its cases: two starts of Snakemake on a cluster, the environment on a slow disk."""
BLOCKS_MB = 2000.0
"""A job that works by blocks, whatever the size of the case."""
TIME_GROWS_WITH: Mapping[str, str] = {
    "convert": "channels",
    "fingerprint": "channels",
    "preprocess": "channels",
    "predict": "classes",
    "candidates": "classes",
    "postprocess": "classes",
    "evaluate": "classes",
}
MEMORY_PER_CLASS: Mapping[str, float] = {"predict": 0.05}
"""Share of the memory of a case that each class beyond the first adds."""


@dataclass(frozen=True)
class Size:
    """What of a case decides its cost; a job has the largest for its memory and the sum for its time."""

    voxels: int
    channels: int = 1
    classes: int = 1

    def for_memory(self, stage: str) -> float:
        """Million voxels, counted once for each part that is in memory together."""
        return self.voxels / 1e6 * (1.0 + MEMORY_PER_CLASS.get(stage, 0.0) * max(0, self.classes - 1))

    def for_time(self, stage: str) -> float:
        """Million voxels, counted once for each part that is worked through."""
        parts = {"channels": self.channels, "classes": self.classes}.get(TIME_GROWS_WITH.get(stage, ""), 1)
        return self.voxels / 1e6 * max(1, parts)  # an image that is made counts as a class


@dataclass(frozen=True)
class Line:
    """`base + slope * million voxels`, from `n` records; n is 0 for a shipped line.

    Up to the largest case on record the fitted slope holds; what a case is larger than that costs by the shipped slope:
    small cases say little of large ones.
    """

    base: float
    slope: float
    n: int = 0
    known_to: float = 0.0
    beyond: float = 0.0

    def at(self, mvoxels: float) -> float:
        """The value for a case."""
        if not self.n:
            return self.base + self.slope * mvoxels
        return self.base + self.slope * min(mvoxels, self.known_to) + self.beyond * max(0.0, mvoxels - self.known_to)


@dataclass(frozen=True)
class Need:
    """The two lines of a stage: MB and seconds of one case."""

    memory_mb: Line
    seconds: Line


@dataclass(frozen=True)
class Record:
    """What one case of a stage took, from its run record."""

    size: Size
    memory_mb: float
    seconds: float


def shipped(stage: str, *, crf: bool = False, images: bool = False) -> Need:
    """The need of a stage before there are records; `crf` says whether `postprocess` holds a dense random field.

    `images` says that the study makes images: input, target and body lie in memory whole.
    """
    if images and stage in OF_IMAGES:
        return OF_IMAGES[stage]
    if crf and stage == "postprocess":
        # Probabilities of all classes, and intensities; benchmarks/RESULTS.md.
        return Need(Line(800.0, 150.0), Line(0.0, 15.0))
    found = STAGES[stage]
    return Need(Line(found.base_mb, found.byte_per_voxel), Line(0.0, found.seconds_per_mvoxel))


OF_IMAGES: Mapping[str, Need] = {
    "preprocess": Need(Line(700.0, 20.0), Line(0.0, 3.0)),
    "evaluate": Need(Line(700.0, 18.0), Line(0.0, 2.0)),
}
"""What stages of a study that makes images need; the others as ever."""


def fitted(plain: Need, stage: str, records: Sequence[Record]) -> Need:
    """The need of a stage by its records; the shipped one, `plain`, where they are too few.

    Returns
    -------
    Need
        Memory covers every record (its own peak is that of the process so far, so a small case after a large one
        counts as large: on the safe side); seconds are the expected ones.
    """
    if len(records) < ENOUGH:
        return plain
    seconds = _fit([(r.size.for_time(stage), r.seconds) for r in records], plain.seconds.slope)
    memory = _fit([(r.size.for_memory(stage), r.memory_mb) for r in records], plain.memory_mb.slope)
    short = max(r.memory_mb - memory.at(r.size.for_memory(stage)) for r in records)
    return Need(replace(memory, base=memory.base + max(0.0, short)), seconds)


def _fit(points: Sequence[tuple[float, float]], slope: float) -> Line:
    """Least squares with base and slope not negative; with the given slope where the points lie too close together."""
    n, shipped_slope = len(points), slope
    xs, ys = [x for x, _ in points], [y for _, y in points]
    mean_x, mean_y = sum(xs) / n, sum(ys) / n
    if max(xs) > WIDE * min(xs):
        spread = sum((x - mean_x) ** 2 for x in xs)
        slope = max(0.0, sum((x - mean_x) * (y - mean_y) for x, y in points) / spread)
    base = mean_y - slope * mean_x
    if base < 0.0:
        # Through the origin: no case takes less than nothing.
        base, slope = 0.0, sum(x * y for x, y in points) / max(sum(x * x for x in xs), 1e-12)
    return Line(base, slope, n, known_to=max(xs), beyond=shipped_slope)


def memory_mb(stage: str, size: Size, need: Need, attempt: int = 1, *, blocks_above: float = math.inf) -> int:
    """Memory that a job asks for its largest case, in MB; a retry gets more.

    A case of more voxels than `blocks_above` is never in memory as a whole.
    """
    line = need.memory_mb
    # Shipped lines are upper estimates already.
    asked = (
        line.at(size.for_memory(stage)) if not line.n else START_MB + MEMORY_MARGIN * line.at(size.for_memory(stage))
    )
    if size.voxels > blocks_above:
        asked = min(asked, BLOCKS_MB)
    return int(asked * 1.6 ** (attempt - 1))


def runtime_minutes(stage: str, sizes: Sequence[Size], need: Need, attempt: int = 1) -> int:
    """Wall time that a job asks for all its cases, in minutes; a retry gets more."""
    seconds = sum(need.seconds.at(size.for_time(stage)) for size in sizes)
    margin = TIME_MARGIN if need.seconds.n else 1.0
    return -int(-(START_MINUTES + margin * seconds / 60) * 2.0 ** (attempt - 1) // 1)
