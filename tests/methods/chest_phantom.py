"""A lopsided chest of ellipsoids in HU: body, couch, two lungs, windpipe, bowel gas, vessels and two masses."""

import numpy as np

from cohortseg.volume import Grid, Volume

GRID = Grid((44, 66, 110), (3.0, 2.5, 2.0), (-110.0, -80.0, 40.0))


def ellipsoid(centre_mm, radii_mm):
    """Positions (z, y, x) in mm from the first voxel; an infinite radius makes a tube."""
    axes = [np.arange(n) * size for n, size in zip(GRID.shape, GRID.spacing_mm, strict=True)]
    z, y, x = np.meshgrid(*axes, indexing="ij", sparse=True)
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip((z, y, x), centre_mm, radii_mm, strict=True)) <= 1


def chest():
    """The volume, and the masks it was made of."""
    endless = np.inf
    masks = {
        "body": ellipsoid((0, 70, 108), (endless, 60, 95)),
        "lungs": ellipsoid((75, 68, 68), (48, 36, 30)) | ellipsoid((72, 66, 150), (44, 38, 32)),
        "windpipe": ellipsoid((0, 68, 109), (endless, 7, 7)),
        "bowel gas": ellipsoid((20, 40, 110), (9, 8, 12)),
        "mass": ellipsoid((78, 70, 62), (12, 12, 12)),
        "wall mass": ellipsoid((70, 37, 152), (11, 11, 11)),
        "vessel": ellipsoid((0, 62, 150), (endless, 2.6, 2.6)),
    }
    couch = np.zeros(GRID.shape, bool)
    couch[:, 55:57, 20:90] = couch[:, 52:55, 40:43] = True  # the body touches it at one rail
    hu = np.full(GRID.shape, -1000, np.int16)
    hu[masks["body"] | (couch & ~masks["body"])] = 40
    for name, value in (("lungs", -850), ("windpipe", -990), ("bowel gas", -900)):
        hu[masks[name]] = value
    for name in ("mass", "wall mass", "vessel"):
        hu[masks[name] & masks["lungs"]] = 30
    masks["couch"] = couch & ~masks["body"]
    noise = np.random.default_rng(7).normal(0, 15, GRID.shape)
    return Volume((hu + noise).round().astype(np.int16), GRID), masks


def dice(reference, prediction):
    """Twice the shared voxels over the sum of both masks."""
    return 2 * (reference & prediction).sum() / (reference.sum() + prediction.sum())
