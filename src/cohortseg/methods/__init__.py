"""The table of methods: segmenters that turn a volume into a label, classical and trained ones alike."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.choose import choose
from cohortseg.errors import Rejected, StudyError
from cohortseg.volume import Volume

Segment: TypeAlias = Callable[[Volume], npt.NDArray[np.uint8]]
"""Volume (z, y, x) of any number type -> uint8 label on the same grid, 0 is the background."""

Build: TypeAlias = Callable[..., Segment]
"""Makes a segmenter from named settings."""


@dataclass(frozen=True)
class Method:
    """One entry of the table.

    Parameters
    ----------
    load : callable or None
        Imports the method and returns its builder; None where weights make the method (infer/).
    scope : {'pointwise', 'halo', 'slice', 'volume'}
        What a voxel of the result depends on, in the widest of the method's settings.
    needs_weights : bool
        The method must be trained first.
    dims : tuple of int
        Dimensions it can work in. 2 and 3: volumes and single planes; 3 alone refuses a single plane. A method that
        works on planes does so on each plane of a volume.
    source : str
        Where the definition comes from.
    summary : str
        One line for the generated documentation.
    rows : tuple of str
        Rows of the table of published methods that it covers.
    test : str
        File of its known-answer tests.
    """

    load: Callable[[], Build] | None
    scope: Literal["pointwise", "halo", "slice", "volume"]
    needs_weights: bool
    dims: tuple[int, ...]
    source: str
    summary: str
    rows: tuple[str, ...] = ()
    test: str = ""


def _builder(module: str) -> Build:
    build: Build = import_module(f"cohortseg.methods.{module}").build
    return build


def segmenter(name: str, settings: dict[str, Any]) -> Segment:
    """The segmenter of a method without weights, from its settings.

    Parameters
    ----------
    name : str
        A key of `METHODS`.
    settings : dict
        Named arguments of its builder.

    Returns
    -------
    callable
        Volume -> uint8 label. Raises `Rejected` (TOO_FEW_SLICES) for a single plane where the method needs a volume.

    Raises
    ------
    SettingsError
        For an unknown name, or settings that cannot be.
    StudyError
        When the method needs weights.
    """
    method = choose("method", name, METHODS)
    if method.load is None:
        raise StudyError("the method needs weights")
    segment = method.load()(**settings)

    def checked(volume: Volume) -> npt.NDArray[np.uint8]:
        if volume.grid.shape[0] == 1 and 2 not in method.dims:
            raise Rejected("TOO_FEW_SLICES", f"one plane; method {name} works on volumes (3D) only")
        return segment(volume)

    return checked


METHODS: dict[str, Method] = {
    "threshold": Method(
        load=partial(_builder, "threshold"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Otsu 1979; Liao et al. 2001; Yen et al. 1995; Li & Tam 1998; Zack et al. 1977; Tsallis: Portes de "
        "Albuquerque et al. 2004; valley: Prewitt & Mendelsohn 1966",
        summary="intensity threshold, fixed or from the histogram, in the whole image, the body or the lungs",
        rows=("C08", "P30"),
        test="tests/methods/test_threshold.py",
    ),
    "multithreshold": Method(
        load=partial(_builder, "multithreshold"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Liao et al. 2001; Portes de Albuquerque et al. 2004; Prewitt & Mendelsohn 1966",
        summary="brightness levels between several thresholds: multi-Otsu, Tsallis entropy, valleys of the histogram",
        rows=("C07", "C08", "P30"),
        test="tests/methods/test_entropy.py",
    ),
    "kmeans": Method(
        load=partial(_builder, "kmeans"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Lloyd 1982; spatial: Zhang et al. 2018; principal components: Pearson 1901",
        summary="k-means on intensity, on intensity with mean and median of a window, or on principal components of it",
        rows=("C04", "C05", "C10"),
        test="tests/methods/test_kmeans.py",
    ),
    "fuzzy_cmeans": Method(
        load=partial(_builder, "fuzzy"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Bezdek 1981; intuitionistic: Chaira 2011, Aruna Kumar & Harish 2018",
        summary="fuzzy c-means, plain or intuitionistic with the generators of Sugeno and Yager",
        rows=("C06",),
        test="tests/methods/test_fuzzy.py",
    ),
    "region_growing": Method(
        load=partial(_builder, "region_growing"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Adams & Bischof 1994; seeds from grey levels and their frequency: Raja et al. 2018",
        summary="regions from one seed or from the commonest grey levels; running mean, seed or confidence criterion",
        rows=("C01",),
        test="tests/methods/test_region_growing.py",
    ),
    "split_merge": Method(
        load=partial(_builder, "split_merge"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Horowitz & Pavlidis 1976",
        summary="quadtree of even squares, even neighbours united; each plane",
        rows=("C02",),
        test="tests/methods/test_partitions.py",
    ),
    "contour_regions": Method(
        load=partial(_builder, "contour_regions"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Arbelaez et al. 2011 (simple form: gradient magnitude in place of gPb)",
        summary="watershed of contour strength, weak borders fall; each plane",
        rows=("C17",),
        test="tests/methods/test_partitions.py",
    ),
    "canny": Method(
        load=partial(_builder, "canny"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Canny 1986",
        summary="edges, closed to contours and filled; each plane",
        rows=("C03", "C23"),
        test="tests/methods/test_edges.py",
    ),
    "tophat": Method(
        load=partial(_builder, "tophat"),
        scope="halo",
        needs_weights=False,
        dims=(2, 3),
        source="Serra 1982; Soille 2004",
        summary="grey-level morphology: white or black top-hat or gradient above a limit",
        rows=("C16",),
        test="tests/methods/test_edges.py",
    ),
    "watershed": Method(
        load=partial(_builder, "watershed"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Meyer 1994; Vincent & Soille 1991",
        summary="marker-controlled watershed of the distance (parts touching objects) or of the gradient",
        rows=("C11", "Q08"),
        test="tests/methods/test_watershed.py",
    ),
    "drlse": Method(
        load=partial(_builder, "drlse"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Li, Xu, Gui & Fox 2010",
        summary="level set without re-initialisation (distance regularised), edge-based; each plane",
        rows=("C12",),
        test="tests/methods/test_active_contours.py",
    ),
    "chan_vese": Method(
        load=partial(_builder, "chan_vese"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Chan & Vese 2001; Marquez-Neila et al. 2014; local: Wang, Huang & Xu 2010",
        summary="active contour without edges, global or local; each plane",
        rows=("C13",),
        test="tests/methods/test_active_contours.py",
    ),
    "geodesic": Method(
        load=partial(_builder, "geodesic"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Caselles, Kimmel & Sapiro 1997; Marquez-Neila et al. 2014",
        summary="geodesic active contour with a balloon; each plane",
        rows=("C12",),
        test="tests/methods/test_active_contours.py",
    ),
    "snake": Method(
        load=partial(_builder, "snake"),
        scope="slice",
        needs_weights=False,
        dims=(2, 3),
        source="Kass, Witkin & Terzopoulos 1988",
        summary="snake from a centred ellipse; each plane",
        rows=("C15",),
        test="tests/methods/test_active_contours.py",
    ),
    "hmrf": Method(
        load=partial(_builder, "hmrf"),
        scope="volume",
        needs_weights=False,
        dims=(2, 3),
        source="Zhang, Brady & Smith 2001; weights of the neighbourhood as in FSL FAST",
        summary="hidden Markov random field by EM, neighbours weighted by slice distance",
        rows=("C18",),
        test="tests/methods/test_hmrf.py",
    ),
    "lung": Method(
        load=partial(_builder, "lung"),
        scope="volume",
        needs_weights=False,
        dims=(3,),
        source="Primakov et al. 2022, from the words of its text",
        summary="lungs of a chest CT: air, growing, vessel closing; on demand mirrored about the spine, with a margin",
        rows=("P08", "P09", "P10", "P11", "P12", "P13", "P14", "P15", "K02"),
        test="tests/methods/test_lung.py",
    ),
    "forest": Method(
        load=None,
        scope="volume",
        needs_weights=True,
        dims=(2, 3),
        source="Breiman 2001, Mach. Learn. 45(1)",
        summary="random forest on the features of single voxels: brightness, gradient, Laplacian at scales, place",
        test="tests/methods/test_learned.py",
    ),
    "svm": Method(
        load=None,
        scope="volume",
        needs_weights=True,
        dims=(2, 3),
        source="Cortes & Vapnik 1995, Mach. Learn. 20(3)",
        summary="support vectors with a Gaussian kernel on the same features",
        rows=("C09",),
        test="tests/methods/test_learned.py",
    ),
    "mean_shape": Method(
        load=None,
        scope="volume",
        needs_weights=True,
        dims=(2, 3),
        source="atlas guess without registration",
        summary="most frequent class at each place of the training cases; a floor that does not look at the image",
        test="tests/methods/test_learned.py",
    ),
    "ellipsoid": Method(
        load=None,
        scope="volume",
        needs_weights=True,
        dims=(2, 3),
        source="centred guess of the best size",
        summary="centred ellipsoid of the size that fits the training cases; a floor that does not look at the image",
        test="tests/methods/test_learned.py",
    ),
    "unet": Method(
        load=None,
        scope="halo",
        needs_weights=True,
        dims=(2, 3),
        source="Ronneberger et al. 2015; Çiçek et al. 2016; Isensee et al. 2021",
        summary="U-Net whose patch, strides and channels come from the plan, applied by a sliding window",
        rows=("A01",),
        test="tests/infer/test_networks.py",
    ),
    "pretrained": Method(
        load=None,
        scope="halo",
        needs_weights=True,
        dims=(2, 3),
        source="the study that made the model package",
        rows=("T03",),
        test="tests/steps/test_networks_of_a_study.py",
        summary="finished networks of another study, with its plan; the mean of their probabilities",
    ),
    "best": Method(
        load=None,
        scope="pointwise",
        needs_weights=True,
        dims=(2, 3),
        source="Isensee et al. 2021 (nnU-Net): the best model or ensemble in cross-validation",
        summary="the best of other experiments or the mean of their networks, for each fold chosen by the other folds",
        rows=("Q10",),
        test="tests/steps/test_best.py",
    ),
    "intensity": Method(
        load=None,
        scope="volume",
        needs_weights=True,
        dims=(2, 3),
        source="Nyul & Udupa 1999 (histogram); least squares (linear)",
        summary="an image from the intensities of another by mean, line or quantiles; what a network must beat",
        rows=("K14",),
        test="tests/methods/test_intensity_floor.py",
    ),
}
