"""What do the classical methods reach on real images? Settings are chosen on training cases, scores are of others.

    python benchmarks/classical_cohorts.py DATA [--cohort hippocampus] [--picture montage.png]

DATA holds hippocampus/, fetal-head/ and nuclei/ with images/ and labels/. Every method has a short list of settings; the
one with the best mean Dice on the training cases is run on the test cases. Labels are taken as one foreground.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from PIL import Image

from cohortseg.io.itk import read_image
from cohortseg.methods import METHODS, segmenter
from cohortseg.methods.learned import LEARNERS
from cohortseg.settings import METHOD_SETTINGS
from cohortseg.volume import Grid, Volume

LEVELS = [{"levels": k, "objects": [i]} for k in (2, 3, 4) for i in range(1, k + 1)]
FEW = [{"levels": 2, "objects": [2]}, {"levels": 3, "objects": [2]}, {"levels": 3, "objects": [3]}]
TRIED = {
    "threshold": [{"rule": rule} for rule in ("otsu", "multi_otsu", "yen", "li", "triangle", "tsallis", "valley")],
    "multithreshold": [{"rule": rule, **one} for rule in ("multi_otsu", "tsallis", "valleys") for one in LEVELS],
    "kmeans": [{"features": features, **one} for features in ("intensity", "spatial", "pca") for one in LEVELS],
    "fuzzy_cmeans": [{"hesitation": h, "strength": 0.8, **one} for h in ("none", "sugeno", "yager") for one in LEVELS],
    "hmrf": LEVELS,
    "region_growing": [{"seeds": "centre", "tolerance": t} for t in (0.1, 0.2, 0.3, 0.4)]
    + [{"seeds": "centre", "criterion": "confidence", "tolerance": 0.2, "deviations": d} for d in (1.5, 2.5)]
    + [{"tolerance": 0.15, "regions": 8, **one} for one in FEW],
    "split_merge": [{"spread": s, "smallest": 2, **one} for s in (0.2, 0.4) for one in FEW],
    "contour_regions": [{"scale_mm": s, "strength": t, **one} for s in (1.5, 4.0) for t in (0.01, 0.03) for one in FEW],
    "canny": [{"scale": s, "low": 0.8, "high": 0.95, "gap": g} for s in (2.0, 4.0) for g in (3, 8)],
    "tophat": [{"radius_mm": r, "above": a} for r in (5.0, 12.0) for a in (20.0, 60.0)],
    "watershed": [{"surface": "distance", "apart_mm": 6.0}, {"surface": "gradient", "sure_mm": 1.0}],
    "drlse": [
        {"start": s, "start_size": z, "area": a}
        for s, z, a in (("ellipse", 0.5, 0.0), ("ellipse", 0.7, 1.5), ("otsu", 0.5, 0.0))
    ],
    "chan_vese": [{"start_size": z, "local_mm": m} for z in (0.4, 0.7) for m in (0.0, 15.0)],
    "geodesic": [
        {"start_size": 0.7, "balloon": -1, "iterations": 60},
        {"start_size": 0.5, "balloon": 0, "iterations": 60},
    ],
    "snake": [{"start_size": z, "edges": w} for z in (0.4, 0.6, 0.8) for w in (1.0, -1.0)],
}
TRAINING, TEST = 6, 12


def hippocampus(folder: Path, n: int):
    for path in sorted((folder / "images").iterdir())[:n]:
        image = read_image(path)
        label = read_image(folder / "labels" / path.name)
        yield image, np.asarray(label.array) > 0


def plane(array: np.ndarray, mm: float) -> Volume:
    return Volume(array[None], Grid((1, *array.shape), (mm, mm, mm), (0.0, 0.0, 0.0)))


def pictures(folder: Path, n: int, shrink: int):
    for path in sorted((folder / "images").iterdir())[:n]:
        label = next((folder / "labels").glob(f"{path.stem.split('.')[0]}*"))
        grey = np.asarray(Image.open(path).convert("L"))[::shrink, ::shrink]
        yield plane(grey, 1.0), np.asarray(Image.open(label))[None, ::shrink, ::shrink] > 0


COHORTS = {
    "hippocampus": lambda data, n: hippocampus(data / "hippocampus", n),
    "fetal-head": lambda data, n: pictures(data / "fetal-head", n, 3),
    "nuclei": lambda data, n: pictures(data / "nuclei", n, 1),
}


def dice(reference: np.ndarray, found: np.ndarray) -> float:
    total = float(reference.sum() + found.sum())
    return 2 * float((reference & found).sum()) / total if total else float("nan")


def builder(name: str, options: dict):
    values = METHOD_SETTINGS[name](method=name, **options).model_dump(exclude={"method", "channel"})
    return segmenter(name, values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--cohort", choices=COHORTS, action="append")
    parser.add_argument("--methods", nargs="*", help="only these, in this order")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    for cohort in options.cohort or COHORTS:
        study(
            cohort, options.data, options.methods or [*(n for n in METHODS if n in TRIED), *LEARNERS], options.picture
        )


def study(cohort: str, data: Path, methods: list[str], picture: Path | None) -> None:
    cases = list(COHORTS[cohort](data, TRAINING + TEST))
    training, test = cases[:TRAINING], cases[TRAINING:]
    print(f"\n### {cohort}: chosen on {len(training)} cases, scored on {len(test)} others\n")
    print("| method | settings chosen | mean Dice | sd | CPU s a case |\n|---|---|---|---|---|", flush=True)
    shown: dict[str, np.ndarray] = {}
    for name in (name for name in methods if name in TRIED):
        scores = [
            np.nanmean([dice(mask, builder(name, one)(image) == 1) for image, mask in training[:4]])
            for one in TRIED[name]
        ]
        best = TRIED[name][int(np.argmax(scores))]
        report(name, ", ".join(f"{k} {v}" for k, v in best.items()), builder(name, best), test, shown)
    labelled = [(image, mask.astype(np.uint8)) for image, mask in training]
    for name in (name for name in methods if name in LEARNERS):
        learner = LEARNERS[name]
        extra = {"scales_mm": (1.0, 2.0, 4.0, 8.0)} if name in ("forest", "svm") else {}
        model = learner.fit(labelled, 1, **extra)
        report(name, "fitted on the training cases", lambda image, m=model, p=learner.predict: p(m, image), test, shown)
    if picture:
        draw(picture.with_name(f"{picture.stem}-{cohort}{picture.suffix}"), cohort, test[0], shown)


def report(name, chosen, segment, test, shown) -> None:
    started = time.process_time()
    found = [np.asarray(segment(image)) == 1 for image, _ in test]
    seconds = (time.process_time() - started) / len(test)
    scores = [dice(mask, one) for (_, mask), one in zip(test, found, strict=True)]
    shown[f"{name} {scores[0]:.2f}"] = found[0]
    print(f"| {name} | {chosen} | {np.nanmean(scores):.3f} | {np.nanstd(scores):.3f} | {seconds:.2f} |", flush=True)


def draw(path: Path, cohort: str, case, shown: dict[str, np.ndarray]) -> None:
    """The middle slice of one test case: reference green, found yellow."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    image, mask = case
    z = int(mask.sum(axis=(1, 2)).argmax())
    figure, panels = pyplot.subplots(3, 7, figsize=(21, 10))
    for panel in panels.ravel():
        panel.set_axis_off()
    for panel, (name, found) in zip(panels.ravel(), shown.items(), strict=False):
        panel.imshow(image.array[z], cmap="gray")
        for one, colour in ((mask[z], "lime"), (found[z], "yellow")):
            if one.any() and not one.all():
                panel.contour(one, [0.5], colors=colour, linewidths=1)
        panel.set_title(name, fontsize=11)
    figure.suptitle(f"{cohort}: reference green, found yellow; Dice of this case")
    figure.tight_layout()
    figure.savefig(path, dpi=60)


if __name__ == "__main__":
    main()
