"""How fast is each classical method beside the library one would pick instead?

    python benchmarks/classical.py [--repeat 3] [--only kmeans ...]

The same seeded volume for both, in one process, in turn; CPU seconds are the median of the repeats after one run on a
small part. The results must agree first: the share of equal voxels stands in the table, and below the share that a row
demands nothing is reported. scikit-fuzzy and antspyx take part where they can be imported.
"""

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk
from scipy import ndimage
from skimage import filters, morphology, segmentation
from skimage.feature import canny, peak_local_max

from cohortseg.methods import segmenter
from cohortseg.methods.learned import draw, fit_forest, fit_svm, predict_forest, predict_svm
from cohortseg.methods.region_growing import seed_place
from cohortseg.settings import METHOD_SETTINGS
from cohortseg.volume import Grid, Volume

SPACING = (2.0, 0.9, 0.9)
SHAPE = (24, 112, 128)


def volume(shape=SHAPE, seed: int = 1) -> Volume:
    """Twenty bright balls and three dim ones on a dark ground, with noise."""
    random = np.random.default_rng(seed)
    grid = np.ogrid[tuple(slice(n) for n in shape)]
    image = np.zeros(shape)
    for number in range(23):
        centre = [random.uniform(0.1, 0.9) * n for n in shape]
        far = sum(((axis - c) * size) ** 2 for axis, c, size in zip(grid, centre, SPACING, strict=True))
        image[far < random.uniform(8, 16) ** 2] = 100 if number < 20 else 50
    image = ndimage.gaussian_filter(image, [0.5, 1, 1]) + random.normal(0, 6, shape)
    return Volume(np.round(image).astype(np.int16), Grid(shape, SPACING, (0.0, 0.0, 0.0)))


class Race(NamedTuple):
    """One row: our method with its settings, the peer, and how many voxels must be equal."""

    name: str
    method: str
    options: dict
    peer_name: str
    peer: Callable[[Volume], np.ndarray]
    equal: float = 0.999
    needs: str = "skimage"


def image_of(one: Volume) -> np.ndarray:
    return np.asarray(one.array)


def itk_of(one: Volume):
    image = sitk.GetImageFromArray(image_of(one))
    image.SetSpacing([float(size) for size in one.grid.spacing_mm[::-1]])
    return image


def by_planes(function):
    return lambda one: np.stack([function(plane) for plane in image_of(one).astype(float)])


def middle(one: Volume) -> tuple[int, ...]:
    return tuple(n // 2 for n in one.array.shape)


def reach(one: Volume, share: float) -> float:
    low, high = np.percentile(one.array, [1, 99])
    return share * (high - low)


def flood_skimage(one: Volume) -> np.ndarray:
    return segmentation.flood(image_of(one).astype(float), middle(one), connectivity=1, tolerance=reach(one, 0.25))


def flood_itk(one: Volume) -> np.ndarray:
    start = middle(one)
    value, far = float(one.array[start]), reach(one, 0.25)
    found = sitk.ConnectedThreshold(sitk.Cast(itk_of(one), sitk.sitkFloat32), [start[::-1]], value - far, value + far)
    return sitk.GetArrayFromImage(found)


def confidence_itk(one: Volume) -> np.ndarray:
    """Until nothing changes: the first limits differ (a reach there, the neighbours of the seed here), the last agree."""
    at = seed_place(image_of(one).astype(float), "mode")[::-1]
    image = sitk.Cast(itk_of(one), sitk.sitkFloat32)
    return sitk.GetArrayFromImage(sitk.ConfidenceConnected(image, [at], 20, 2.5, 1, 1))


def brighter(threshold):
    return lambda one: image_of(one) > threshold(image_of(one))


def otsu_itk(one: Volume) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.OtsuThreshold(itk_of(one), 0, 1, 256))


def kmeans_sklearn(one: Volume) -> np.ndarray:
    from sklearn.cluster import KMeans

    model = KMeans(3, n_init=4, random_state=1).fit(image_of(one).reshape(-1, 1).astype(float))
    return (model.labels_ == model.cluster_centers_.argmax()).reshape(one.array.shape)


def kmeans_itk(one: Volume) -> np.ndarray:
    return (
        sitk.GetArrayFromImage(sitk.ScalarImageKmeans(sitk.Cast(itk_of(one), sitk.sitkFloat32), [0.0, 50.0, 100.0]))
        == 2
    )


def spatial_sklearn(one: Volume) -> np.ndarray:
    from sklearn.cluster import KMeans

    values = image_of(one).astype(np.float32)
    rows = np.stack([values, ndimage.uniform_filter(values, 3), ndimage.median_filter(values, 3)], axis=-1).reshape(
        -1, 3
    )
    model = KMeans(3, n_init=4, random_state=1).fit(rows)
    return (model.labels_ == model.cluster_centers_[:, 0].argmax()).reshape(values.shape)


def components_sklearn(one: Volume) -> np.ndarray:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    padded = np.pad(image_of(one).astype(np.float32), 1, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3, 3)).reshape(-1, 27)
    drawn = np.random.default_rng(1).choice(len(windows), min(100_000, len(windows)), replace=False)
    rows = PCA(3, svd_solver="covariance_eigh").fit(windows[drawn]).transform(windows)
    numbers = KMeans(3, n_init=4, random_state=1).fit_predict(rows)
    means = np.bincount(numbers, image_of(one).ravel()) / np.bincount(numbers)
    return (numbers == means.argmax()).reshape(one.array.shape)


def atropos(one: Volume) -> np.ndarray:
    """Twenty rounds of the field and its Gaussians, from k-means, as ours."""
    import ants

    image = ants.from_numpy(image_of(one).astype(np.float32), spacing=one.grid.spacing_mm)
    found = ants.atropos(a=image, x=image * 0 + 1, i="KMeans[3]", m="[0.5,1x1x1]", c="[20,0]", verbose=0)
    return found["segmentation"].numpy() == 3


def fuzzy_peer(one: Volume) -> np.ndarray:
    import skfuzzy

    centres, u, *_ = skfuzzy.cmeans(image_of(one).reshape(1, -1).astype(float), 3, 2.0, error=1e-5, maxiter=200, seed=1)
    return (u.argmax(0) == centres.ravel().argmax()).reshape(one.array.shape)


def multi_otsu_peer(one: Volume) -> np.ndarray:
    return image_of(one) > filters.threshold_multiotsu(image_of(one), 3)[-1]


def watershed_peer(one: Volume) -> np.ndarray:
    bright = image_of(one) > filters.threshold_otsu(image_of(one))
    depth = ndimage.gaussian_filter(ndimage.distance_transform_edt(bright, one.grid.spacing_mm), 1.0)
    peaks = peak_local_max(depth, min_distance=6, labels=bright.astype(int))
    markers = np.zeros(depth.shape, int)
    if len(peaks):
        markers[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    return segmentation.watershed(-depth, markers, mask=bright, watershed_line=True) > 0


def gradient_markers(one: Volume) -> tuple[np.ndarray, np.ndarray]:
    image = image_of(one)
    bright = image > filters.threshold_otsu(image)
    smooth = ndimage.gaussian_filter(image.astype(np.float32), [1.0 / size for size in SPACING])
    slope = sum(part**2 for part in np.gradient(smooth, *SPACING))
    inside, outside = (ndimage.distance_transform_edt(part, one.grid.spacing_mm) > 2 for part in (bright, ~bright))
    return slope, inside + 2 * outside.astype(np.int32)


def gradient_skimage(one: Volume) -> np.ndarray:
    return segmentation.watershed(*gradient_markers(one)) == 1


def gradient_itk(one: Volume) -> np.ndarray:
    slope, markers = (sitk.GetImageFromArray(part) for part in gradient_markers(one))
    found = sitk.MorphologicalWatershedFromMarkers(slope, markers, markWatershedLine=False)
    return sitk.GetArrayFromImage(found) == 1


def canny_peer(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, [0.5, 99.5])
    lines = canny(
        np.clip((plane - low) / (high - low), 0, 1),
        2.0,
        low_threshold=0.8,
        high_threshold=0.9,
        use_quantiles=True,
        mode="nearest",
    )
    closed = np.pad(ndimage.binary_closing(np.pad(lines, 4), np.ones((7, 7))) | np.pad(lines, 4), 0)
    solid = ndimage.binary_opening(ndimage.binary_fill_holes(closed), np.ones((3, 3)))[4:-4, 4:-4]
    return morphology.remove_small_objects(solid, max_size=max(1, round(0.001 * plane.size)) - 1)


def tophat_scipy(one: Volume) -> np.ndarray:
    return ndimage.white_tophat(image_of(one).astype(np.float32), (5, 11, 11)) > 50


def tophat_itk(one: Volume) -> np.ndarray:
    found = sitk.WhiteTopHat(sitk.Cast(itk_of(one), sitk.sitkFloat32), [5, 5, 2], sitk.sitkBox)
    return sitk.GetArrayFromImage(found) > 50


def scaled(plane: np.ndarray) -> np.ndarray:
    low, high = np.percentile(plane, [0.5, 99.5])
    return np.clip((plane - low) / (high - low), 0, 1)


def start(plane: np.ndarray, size: float) -> np.ndarray:
    y, x = np.ogrid[: plane.shape[0], : plane.shape[1]]
    parts = (((axis - (n - 1) / 2) / (n * size / 2)) ** 2 for axis, n in zip((y, x), plane.shape, strict=True))
    return (sum(parts) <= 1).astype(np.int8)


def chan_vese_peer(plane: np.ndarray) -> np.ndarray:
    return segmentation.morphological_chan_vese(scaled(plane), 100, start(plane, 0.6), smoothing=1)


def geodesic_peer(plane: np.ndarray) -> np.ndarray:
    stopping = segmentation.inverse_gaussian_gradient(scaled(plane), 100.0, 2.0)
    return segmentation.morphological_geodesic_active_contour(stopping, 150, start(plane, 0.8), smoothing=1, balloon=-1)


RACES = (
    Race(
        "region growing, fixed seed",
        "region_growing",
        {"seeds": "centre", "criterion": "seed", "tolerance": 0.25},
        "scikit-image flood",
        flood_skimage,
    ),
    Race(
        "region growing, fixed seed",
        "region_growing",
        {"seeds": "centre", "criterion": "seed", "tolerance": 0.25},
        "SimpleITK ConnectedThreshold",
        flood_itk,
    ),
    Race(
        "region growing, confidence",
        "region_growing",
        {"seeds": "mode", "criterion": "confidence", "rounds": 20},
        "SimpleITK ConfidenceConnected",
        confidence_itk,
        0.99,
    ),
    Race("Otsu", "threshold", {"rule": "otsu"}, "scikit-image threshold_otsu", brighter(filters.threshold_otsu)),
    Race("Otsu", "threshold", {"rule": "otsu"}, "SimpleITK OtsuThreshold", otsu_itk, 0.995),
    Race("Yen", "threshold", {"rule": "yen"}, "scikit-image threshold_yen", brighter(filters.threshold_yen)),
    Race("Li", "threshold", {"rule": "li"}, "scikit-image threshold_li", brighter(filters.threshold_li)),
    Race(
        "triangle",
        "threshold",
        {"rule": "triangle"},
        "scikit-image threshold_triangle",
        brighter(filters.threshold_triangle),
        0.98,
    ),
    Race("k-means", "kmeans", {}, "scikit-learn KMeans", kmeans_sklearn, 0.998),
    Race("k-means", "kmeans", {}, "SimpleITK ScalarImageKmeans", kmeans_itk, 0.998),
    Race(
        "spatial k-means",
        "kmeans",
        {"features": "spatial"},
        "scipy filters + scikit-learn KMeans",
        spatial_sklearn,
        0.99,
    ),
    Race("k-means of components", "kmeans", {"features": "pca"}, "scikit-learn PCA + KMeans", components_sklearn, 0.99),
    Race("fuzzy c-means", "fuzzy_cmeans", {}, "scikit-fuzzy cmeans", fuzzy_peer, needs="skfuzzy"),
    Race("random field (HMRF-EM)", "hmrf", {}, "ANTs Atropos", atropos, 0.99, "ants"),
    Race("multi-Otsu", "multithreshold", {}, "scikit-image threshold_multiotsu", multi_otsu_peer, 0.995),
    Race("watershed of the distance", "watershed", {"apart_mm": 6.0}, "scipy + scikit-image", watershed_peer, 0.99),
    Race(
        "watershed of the gradient",
        "watershed",
        {"surface": "gradient"},
        "scipy + scikit-image",
        gradient_skimage,
        0.99,
    ),
    Race("watershed of the gradient", "watershed", {"surface": "gradient"}, "scipy + SimpleITK", gradient_itk, 0.99),
    Race("Canny, closed and filled", "canny", {}, "scikit-image + scipy", by_planes(canny_peer)),
    Race("white top-hat", "tophat", {}, "scipy white_tophat", tophat_scipy),
    Race("white top-hat", "tophat", {}, "SimpleITK WhiteTopHat", tophat_itk, 0.98),
    Race("Chan-Vese", "chan_vese", {}, "scikit-image morphological_chan_vese", by_planes(chan_vese_peer), 0.97),
    Race("geodesic contour", "geodesic", {}, "scikit-image morphological GAC", by_planes(geodesic_peer), 0.97),
)


def cpu(function, argument, repeat: int) -> tuple[float, np.ndarray]:
    seconds, found = [], None
    for _ in range(repeat):
        started = time.process_time()
        found = np.asarray(function(argument)) > 0
        seconds.append(time.process_time() - started)
    return statistics.median(seconds), found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--only", nargs="*")
    options = parser.parse_args()
    large, small = volume(), volume((8, 64, 70))
    print(f"{'×'.join(map(str, SHAPE))} voxels, int16; median of {options.repeat}\n")
    print(
        "| method | ours CPU s | peer | peer CPU s | ours / peer | equal voxels |\n|---|---|---|---|---|---|",
        flush=True,
    )
    for race in RACES:
        if options.only and race.method not in options.only:
            continue
        if importlib.util.find_spec(race.needs) is None:
            print(f"| {race.name} | | {race.peer_name} | not installed | | |")
            continue
        values = METHOD_SETTINGS[race.method](method=race.method, **race.options).model_dump(
            exclude={"method", "channel"}
        )
        segment = segmenter(race.method, values)
        segment(small), race.peer(small)
        mine, found = cpu(segment, large, options.repeat)
        theirs, judge = cpu(race.peer, large, options.repeat)
        show(race.name, mine, race.peer_name, theirs, float((found == judge).mean()), race.equal)
    if not options.only or "learned" in options.only:
        learned(large, options.repeat)


def show(name: str, mine: float, peer: str, theirs: float, equal: float, least: float) -> None:
    ratio = f"{mine / theirs:.2g}" if equal >= least else f"not reported: fewer than {least:.1%} equal"
    print(f"| {name} | {mine:.3g} | {peer} | {theirs:.3g} | {ratio} | {equal:.2%} |", flush=True)


def learned(one: Volume, repeat: int) -> None:
    """Prediction from arrays alone beside the library's own objects, on the same features."""
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.svm import SVC

    from cohortseg.methods.features import bank

    label = (image_of(one) > 50).astype(np.uint8)
    how = {"scales_mm": (1.0, 2.0, 4.0), "position": True, "seed": 1}

    def features(volume: Volume) -> np.ndarray:
        found = bank(volume, how["scales_mm"], position=True)
        return found.reshape(len(found), -1).T

    rows, labels = draw([(one, label)], 1, per_class=500, **how)
    forest = RandomForestClassifier(50, max_depth=14, min_samples_leaf=2, random_state=1).fit(rows, labels)
    model = fit_forest([(one, label)], 1, per_class=500, **how)
    mine, found = cpu(lambda v: predict_forest(model, v), one, repeat)
    theirs, judge = cpu(lambda v: forest.predict(features(v)).reshape(v.array.shape), one, repeat)
    show(
        "forest, prediction", mine, "scikit-learn RandomForestClassifier", theirs, float((found == judge).mean()), 0.999
    )
    rows, labels = draw([(one, label)], 1, per_class=60, **how)
    mean, deviation = rows.mean(0), rows.std(0)
    machine = SVC(gamma=1.0 / rows.shape[1]).fit(((rows - mean) / deviation).astype(float), labels)
    arrays = fit_svm([(one, label)], 1, per_class=60, **how)
    mine, found = cpu(lambda v: predict_svm(arrays, v), one, repeat)
    theirs, judge = cpu(
        lambda v: machine.predict(((features(v) - mean) / deviation).astype(float)).reshape(v.array.shape), one, repeat
    )
    show("support vectors, prediction", mine, "scikit-learn SVC", theirs, float((found == judge).mean()), 0.999)


if __name__ == "__main__":
    main()
