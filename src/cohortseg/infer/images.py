"""Networks whose result is an image: their mean result."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from cohortseg.infer.networks import Forward


def image_forward_of(networks: Sequence[nn.Module], device: torch.device, *, precision: str = "fp32") -> Forward:
    """A callable from a batch of image tiles to the image that is made of them: the mean result of the networks.

    Parameters
    ----------
    networks : sequence of modules
        In evaluation mode and on the device; several are an ensemble. Their result has one channel.
    device, precision
        As for `networks.forward_of`.

    Returns
    -------
    callable
        float32 array (n, channel, ...) to float32 array (n, 1, ...), as the networks give it: not clipped.

    Raises
    ------
    ValueError
        Without a network.
    """
    if not networks:
        raise ValueError("there is no network")
    half = torch.float16 if precision == "fp16" else torch.bfloat16
    enabled = precision == "bf16" or (precision == "fp16" and device.type == "cuda")

    def forward(batch: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        images = torch.from_numpy(batch).to(device)
        results: list[Tensor] = []
        with torch.inference_mode():
            for network in networks:
                with torch.autocast(device.type, half, enabled=enabled):
                    results.append(network(images).float())
            mean: npt.NDArray[np.float32] = torch.stack(results).mean(0).cpu().numpy()
        return mean

    return forward
