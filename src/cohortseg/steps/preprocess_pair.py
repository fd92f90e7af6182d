"""What `preprocess` does in a study that makes images: inputs and target in model space, and voxels of the body."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import zarr

from cohortseg.blocks import Workers
from cohortseg.errors import Rejected
from cohortseg.io import store
from cohortseg.io.sidecar import read_json
from cohortseg.layout import Layout
from cohortseg.settings import SynthesisSettings
from cohortseg.stages import PreprocessStage
from cohortseg.steps.batch import Record
from cohortseg.steps.image_pairs import TARGET, lacks, path_of, read_input, read_target
from cohortseg.steps.model_space import at_least_one_row, read_plan
from cohortseg.volume import Array

Normalisers = Callable[[dict[str, Any], dict[str, Any], int | None], Mapping[str, Callable[[Array], Array]]]
FOREGROUND_SEED = 1


def preprocess_pair(
    layout: Layout,
    case: str,
    settings: PreprocessStage,
    task: SynthesisSettings,
    workers: Workers,
    normalisers: Normalisers,
) -> Record:
    """Write `prepared.zarr`: the inputs (float16), the target in shares of its range (float16), voxels of the body.

    An input that the case lacks is 0; a case without the target has none, and is predicted all the same.

    Raises
    ------
    Rejected
        MISSING_CHANNEL when the case lacks every input: from zeros no image is made, and none is learnt.
    """
    from cohortseg.methods.body import body_mask
    from cohortseg.preprocess.fingerprint import foreground_sample
    from cohortseg.preprocess.plan import model_spacing
    from cohortseg.preprocess.resample import resample_to
    from cohortseg.preprocess.shares import to_shares

    folder, (plan, _) = layout.case(case), read_plan(layout)
    source = store.read_grid(folder / "image.zarr")
    grid = source.with_spacing(model_spacing(plan, source.spacing_mm))
    inputs = task.inputs_among(settings.channels)
    if all(lacks(layout, case, channel) for channel in inputs):
        raise Rejected("MISSING_CHANNEL", f"{', '.join(inputs)}: all that the image is made from")
    finish = normalisers(plan, read_json(folder / "fingerprint.json")["fingerprint"], settings.preprocess.bins)
    options: dict[str, Any] = {"interpolation": settings.preprocess.interpolation, "workers": workers}
    with store.new_store(folder / "prepared.zarr") as part:
        out = store.channels_of(store.create(part, grid, np.float16, channels=inputs))
        for number, channel in enumerate(inputs):
            if not lacks(layout, case, channel):
                image: Any = store.open_array(path_of(layout, case, channel, settings.channels))
                if task.is_finer:
                    image = read_input(layout, case, channel, settings.channels, task).array
                resample_to(out[number], image, source, grid, finish=finish[channel], **options)
        group, n_foreground = zarr.open_group(part, mode="r+"), 0
        if not lacks(layout, case, task.target):
            values = read_target(layout, case, settings.channels, task).array
            made = store.create_array(group, TARGET, grid.shape, np.float16)
            low, high = task.range
            resample_to(
                made,
                values,
                source,
                grid,
                finish=lambda block: to_shares(block, low, high).astype(np.float16),
                **options,
            )
            body = np.empty(grid.shape, np.uint8)
            native = body_mask(values, task.body_above).astype(np.uint8)
            resample_to(body, native, source, grid, interpolation="nearest", workers=workers)
            sample = foreground_sample(body, n_classes=1, seed=FOREGROUND_SEED)
            n_foreground = len(sample)
            group.create_array("foreground", data=at_least_one_row(sample), chunks=(max(1, n_foreground), 4))
        content = store.content_digest(part)
    return {"content": content, "facts": {"grid": grid.as_dict(), "n_foreground": n_foreground}}
