"""Fingerprints of small made-up cases, and plans from them."""

import numpy as np

from cohortseg.preprocess.fingerprint import case_fingerprint
from cohortseg.preprocess.plan import make_plan
from cohortseg.volume import Grid


def fingerprint_of(spacing_mm, shape=(6, 8, 9), seed=0, tumour_hu=60, with_label=True, empty_share=0.0):
    """A body of about 0 HU with a brighter box; `empty_share` of the planes are exactly 0. No box in a single plane."""
    image = np.random.default_rng(seed).normal(0, 100, shape).round().astype(np.int16)
    image[image == 0] = 1
    label = np.zeros(shape, np.uint8)
    label[2:4, 3:6, 1:5] = 1
    image[label > 0] = (tumour_hu + np.arange(24) % 9 - 4)[: np.count_nonzero(label)]
    image[: round(empty_share * shape[0])] = 0
    label_there = label if with_label else None
    return case_fingerprint({"image": image}, label_there, Grid(shape, spacing_mm, (0, 0, 0)), n_classes=1)


def plan_of(fingerprints, modality="CT", **options):
    names = [f"case-{i}" for i in range(len(fingerprints))]
    return make_plan(fingerprints, cases=names, **{"dims": 3, "modalities": {"image": modality}} | options)


def with_channels(fingerprint, **others):
    """The fingerprint with its channel named ct, and further channels: another case's, or None for a missing one."""
    further = {name: other and other["channels"]["image"] for name, other in others.items()}
    return fingerprint | {"channels": {"ct": fingerprint["channels"]["image"], **further}}
