"""Are nuclei found by Otsu's threshold, with how many false ones? `python benchmarks/detection.py DATA` (the nuclei).

Detection at an operating point that the other two of three folds choose, and panoptic quality of components and of objects
told apart, measured by the package's own parts on the first 60 pictures.
"""

import sys
from pathlib import Path

import numpy as np
from skimage.filters import threshold_otsu

from cohortseg.io.bitmaps import read_bitmap
from cohortseg.metrics.hits import detection_record, scores_of
from cohortseg.metrics.operating_point import Scan, at_operating_point, mean_sensitivity, operating_point
from cohortseg.metrics.panoptic import intervals, mean_qualities, panoptic_counts, record_of
from cohortseg.postprocess.instances import by_distance, objects_by_class, whole

SPACING_MM = (1.0, 1.0, 1.0)
SPLITS = {
    "components": lambda _: whole,
    "watershed": lambda _: by_distance(spacing_mm=SPACING_MM, depth_mm=1.0, smooth_mm=1.0),
}


def main(root: Path, n_cases: int = 60, folds: int = 3, limit: float = 1.0) -> None:
    """Print both."""
    names = sorted(path.stem for path in (root / "labels").glob("*.png"))[:n_cases]
    scans, counts = [], {name: [] for name in SPLITS}
    for name in names:
        pixels = read_bitmap(root / "images" / f"{name}.png", stack=False, stored=False, broken="-").pixels
        image = pixels[..., :3].mean(axis=-1) if pixels.shape[-1] >= 3 else pixels[..., 0].astype(float)
        ids = read_bitmap(root / "labels" / f"{name}.png", stack=False, stored=True, broken="-").pixels[..., 0]
        found, truth = image > threshold_otsu(image), (ids > 0).astype(np.uint8)
        record = detection_record(truth > 0, found, spacing_mm=SPACING_MM, rule="overlap", min_jaccard=0.5)
        scans.append(Scan(name, record["n_lesions"], *scores_of(record, "volume_ml")[1:]))
        for kind, part in SPLITS.items():
            objects = objects_by_class(found.astype(np.uint8), 1, part)
            one = panoptic_counts(truth, ids, found.astype(np.uint8), objects, n_classes=1, things=[1])
            counts[kind].append(record_of(one))
    chosen = [
        operating_point([scan for k, scan in enumerate(scans) if k % folds != fold], limit) for fold in range(folds)
    ]
    every = at_operating_point(scans, [0.0] * len(scans), seed=1)
    kept = at_operating_point(scans, [chosen[k % folds] for k in range(len(scans))], seed=1)
    for name, (value, low, high) in kept.items():
        print(f"{name}: {every[name][0]:.3f} of all, {value:.3f} ({low:.3f} to {high:.3f}) at the operating point")
    print("mean sensitivity at 1/8 to 8: {:.3f} ({:.3f} to {:.3f})".format(*mean_sensitivity(scans, seed=1)))
    for kind, rows in counts.items():
        table = np.asarray(rows)
        low, high = intervals(table, names, seed=1)[0]
        pq, sq, rq = mean_qualities(table.sum(axis=0))
        print(f"{kind}: PQ {pq:.3f} ({low:.3f} to {high:.3f}), SQ {sq:.3f}, RQ {rq:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
