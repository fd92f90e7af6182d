"""The region of a case in numbers, as the reference has it and as it was found."""

from pathlib import Path

from cohortseg.ignored import left_out
from cohortseg.io import store
from cohortseg.layout import Layout
from cohortseg.metrics.region_features import region_features
from cohortseg.metrics.regions import holds
from cohortseg.stages import EvaluateStage
from cohortseg.volume import Volume


def image_of(layout: Layout, case: str, settings: EvaluateStage) -> Path:
    """The store of the channel whose intensities are described."""
    wanted = settings.types.channel if settings.types is not None else None
    images = dict(zip(settings.channels, layout.images(case, settings.channels), strict=True))
    return images[wanted] if wanted is not None else next(iter(images.values()))


def described(
    layout: Layout, case: str, folder: Path, reference: Volume, settings: EvaluateStage
) -> dict[str, dict[str, float] | None]:
    """Features of the region of the reference and of the cleaned label; None where that is empty."""
    if settings.types is None:
        return {}
    image = store.read_volume(image_of(layout, case, settings)).array
    numbers = settings.labels[settings.types.label or settings.classes[0]]
    post = left_out(store.read_volume(folder / "post.zarr").array, reference.array)
    spacing_mm, levels = reference.grid.spacing_mm, settings.types.levels
    return {
        name: region_features(image, holds(label, numbers), spacing_mm=spacing_mm, levels=levels)
        for name, label in (("reference", reference.array), ("prediction", post))
    }
