"""Pairs of CT and MR of a body in which no increasing map leads from one to the other: fat is bright, bone is dark."""

import numpy as np
import numpy.typing as npt

SHAPE = (6, 40, 44)
TISSUES = {"muscle": (50.0, 220.0), "fat": (-100.0, 420.0), "bone": (700.0, 90.0)}
"""HU and brightness of the MR. By brightness: bone, muscle, fat; by HU: fat, muscle, bone."""
AIR = (-1000.0, 4.0)
RANGE = (-1000.0, 1000.0)


def pair(seed: int) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """CT and MR (z, y, x) of one phantom: an ellipse with discs of fat and bone, at other places in each."""
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    centre = draw.uniform((18, 20), (22, 24))
    body = ((y - centre[0]) / 17) ** 2 + ((x - centre[1]) / 18) ** 2 < 1
    ct, mr = (np.where(body, TISSUES["muscle"][k], AIR[k]) for k in (0, 1))
    for tissue, radius in (("fat", 6.0), ("fat", 5.0), ("bone", 6.0), ("bone", 4.5)):
        spot = centre + draw.uniform(-9, 9, 2)
        disc = (y - spot[0]) ** 2 + (x - spot[1]) ** 2 < radius**2
        ct[disc], mr[disc] = TISSUES[tissue]
    shade = draw.uniform(0.8, 1.25)  # MR has no unit
    noise = draw.normal(0, 1, (2, *SHAPE))
    return (ct + 8 * noise[0]).astype(np.int16), np.abs(mr * shade + 3 * noise[1]).astype(np.float32)
