"""What several steps know of a study that makes images: input and target of a case, before and in model space."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import read_json, read_sidecar
from cohortseg.layout import Layout
from cohortseg.preprocess.coarser import coarser
from cohortseg.settings import SynthesisSettings
from cohortseg.volume import Volume

TARGET = "target"
"""Array of a model-space store: the target in shares of its range."""


def path_of(layout: Layout, case: str, channel: str, channels: Sequence[str]) -> Path:
    """The store of a channel."""
    return layout.images(case, list(channels))[list(channels).index(channel)]


def lacks(layout: Layout, case: str, channel: str) -> bool:
    """Whether a converted case is without a channel."""
    return channel in read_json(layout.case(case) / "image.json")["facts"].get("missing_channels", [])


def read_input(layout: Layout, case: str, channel: str, channels: Sequence[str], task: SynthesisSettings) -> Volume:
    """An input on the native grid; float32 and smoothed where it is made coarser, else as it was converted.

    Raises
    ------
    Rejected
        MISSING_CHANNEL when the case lacks it.
    """
    if lacks(layout, case, channel):
        raise Rejected("MISSING_CHANNEL", f"channel {channel}, which the image is made from")
    volume = store.read_volume(path_of(layout, case, channel, channels))
    return Volume(coarser(volume.array, task.coarser), volume.grid) if task.is_finer else volume


def read_target(layout: Layout, case: str, channels: Sequence[str], task: SynthesisSettings) -> Volume:
    """The target on the native grid, float32, clipped to its range.

    Raises
    ------
    Rejected
        NO_REFERENCE when the case lacks it.
    """
    if lacks(layout, case, task.target):
        raise Rejected("NO_REFERENCE", f"made, but not scored: the case has no channel {task.target}")
    volume = store.read_volume(path_of(layout, case, task.target, channels))
    return Volume(np.clip(volume.array.astype(np.float32), *task.range), volume.grid)


def with_target(layout: Layout, names: Sequence[str], target: str) -> list[str]:
    """The cases that are there, were not rejected and have the target."""
    found = []
    for name in names:
        image = read_sidecar(layout.case(name) / "image.json")
        if image is not None and image["status"] == "ok" and not lacks(layout, name, target):
            found.append(name)
    return found
