"""How well does the lung chain isolate the lungs of a real CT, and what is each of its steps worth?

    python benchmarks/lung.py FOLDER [--picture lung.png]

FOLDER holds one CT series and an RTSTRUCT with lungs, tumour and spinal cord (names by --lungs, --tumour, --cord). Prints
the Dice of the lungs, the share of the tumour that each step covers, the distance of the spine axis from the cord for
each variant, CPU seconds and peak memory.
"""

import argparse
import resource
import time
from pathlib import Path

import numpy as np

from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header
from cohortseg.io.rtstruct import rtstruct_mask
from cohortseg.io.series import read_series
from cohortseg.methods.lung import lung_mask, widened
from cohortseg.methods.regions import body, lungs
from cohortseg.methods.spine import spine_axis, symmetric
from cohortseg.volume import Volume

VARIANTS = {
    "as published: all rows, highest": {"rows": "all", "peak": "highest"},
    "back half, highest": {"rows": "posterior", "peak": "highest"},
    "back half, centroid": {"rows": "posterior", "peak": "centroid"},
    "back half, symmetry (default)": {"rows": "posterior", "peak": "symmetry"},
}


def read_case(folder: Path, names: dict[str, str]) -> tuple[Volume, dict[str, np.ndarray]]:
    """The CT, and a mask for each structure."""
    headers = {path: read_header(path) for path in sorted(folder.iterdir()) if path.is_file()}
    slices = {path: head for path, head in headers.items() if head and head.get("modality") == "CT"}
    contours = next(path for path, head in headers.items() if head and head.get("modality") == "RTSTRUCT")
    stack = stack_geometry(list(slices.values()))
    array, _ = read_series([str(path) for path in slices], list(slices.values()), stack=stack)
    masks = {name: rtstruct_mask(contours, stack.grid, {name: one})[0] > 0 for name, one in names.items()}
    return Volume(array, stack.grid), masks


def dice(reference: np.ndarray, found: np.ndarray) -> float:
    return 2 * float((reference & found).sum()) / float(reference.sum() + found.sum())


def covered(tumour: np.ndarray, region: np.ndarray) -> float:
    return float((tumour & region).sum() / tumour.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--lungs", default="Lung [LR]")
    parser.add_argument("--tumour", default="GTV-1")
    parser.add_argument("--cord", default="Spinal cord")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    volume, masks = read_case(options.folder, {"lungs": options.lungs, "tumour": options.tumour, "cord": options.cord})
    loaded = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    started = time.process_time()
    inside = body(volume)
    found = lung_mask(volume, inside, -400.0, -300.0, 5.0)
    lung_seconds = time.process_time() - started
    slices = found.any(axis=(1, 2))
    axis = spine_axis(volume.array, inside, slices)
    both = symmetric(found, axis)
    region = widened(both, 5)
    seconds = time.process_time() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

    air = inside & (np.asarray(volume.array) < -400)
    print("| lungs | Dice | too much ml | too little ml | tumour covered |\n|---|---|---|---|---|")
    for name, mask in {
        "air below -400 HU in the body": air,
        "region `lungs` of the threshold method": lungs(volume),
        "+ windpipe out, grown (no closing)": lung_mask(volume, inside, -400.0, -300.0, 0.0),
        "+ closing 5 mm: method `lung`": found,
        "same, air by Otsu's rule": lung_mask(volume, inside, None, -300.0, 5.0),
        "+ flip and union": both,
        "+ disk of 5 pixels": region,
        "disk without flip": widened(found, 5),
    }.items():
        ml = volume.grid.voxel_ml
        more, less = (mask & ~masks["lungs"]).sum() * ml, (masks["lungs"] & ~mask).sum() * ml
        share = covered(masks["tumour"], mask)
        print(f"| {name} | {dice(masks['lungs'], mask):.3f} | {more:.0f} | {less:.0f} | {share:.2f} |")

    print(
        "\n| spine axis | position | mean mm from cord | largest mm | tumour covered after flip |\n|---|---|---|---|---|"
    )
    at = np.flatnonzero(slices & masks["cord"].any(axis=(1, 2)))
    cord = np.array([np.nonzero(masks["cord"][z])[1].mean() for z in at])
    axes = {
        (name, position): spine_axis(volume.array, inside, slices, axis=position, **how)
        for name, how in VARIANTS.items()
        for position in ("raw", "smoothed", "mean")
    }
    axes["middle of the body", "each slice"] = spine_axis(volume.array, inside, slices, axis="body")
    axes["middle of the image", "-"] = np.full(len(slices), (volume.grid.shape[2] - 1) / 2)
    for (name, position), columns in axes.items():
        off = np.abs(columns[at] - cord) * volume.grid.spacing_mm[2]
        share = covered(masks["tumour"], symmetric(found, columns))
        print(f"| {name} | {position} | {off.mean():.1f} | {off.max():.1f} | {share:.2f} |")
    print(
        f"\n{'×'.join(map(str, volume.grid.shape))} voxels, {len(at)} slices with cord and lung: lungs {lung_seconds:.1f} CPU s, "
        f"whole chain {seconds:.1f} CPU s; peak {peak:.0f} MB, of which {loaded:.0f} MB before the chain"
    )
    if options.picture:
        draw(options.picture, volume, masks, found, both, region, axis)


def draw(path, volume, masks, found, both, region, axis) -> None:
    """Four slices: the CT in the lung window with contours of each step, the tumour, the cord and the axis."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tumour_slices = np.flatnonzero(masks["tumour"].any(axis=(1, 2)))
    middle = int(tumour_slices[np.argmax(masks["tumour"].sum(axis=(1, 2))[tumour_slices])])
    lung_slices = np.flatnonzero(found.any(axis=(1, 2)))
    chosen = [
        int(lung_slices[len(lung_slices) // 6]),
        middle,
        int(lung_slices[len(lung_slices) * 2 // 3]),
        int(lung_slices[-8]),
    ]
    figure, panels = pyplot.subplots(2, 4, figsize=(20, 9.4))
    for column, z in enumerate(chosen):
        plane = np.clip(volume.array[z], -1000, 400)
        for row in (0, 1):
            panel = panels[row, column]
            isolated = np.where(region[z], plane, -1000)
            panel.imshow(isolated if row else plane, cmap="gray", vmin=-1000, vmax=400)
            panel.set_axis_off()
            if masks["tumour"][z].any():
                panel.contour(masks["tumour"][z], [0.5], colors="red", linewidths=1.2)
        top = panels[0, column]
        for mask, colour in ((masks["lungs"], "lime"), (found, "cyan"), (both, "yellow")):
            if mask[z].any():
                top.contour(mask[z], [0.5], colors=colour, linewidths=0.9)
        top.axvline(axis[z], color="magenta", linewidth=1)
        if masks["cord"][z].any():
            top.contour(masks["cord"][z], [0.5], colors="orange", linewidths=1.2)
        top.set_title(
            f"slice {z}: contoured lungs green, found cyan, flip + union yellow,\naxis magenta, cord orange, tumour red",
            fontsize=9,
        )
        panels[1, column].set_title("isolated region with margin, outside set to air", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=70)


if __name__ == "__main__":
    main()
