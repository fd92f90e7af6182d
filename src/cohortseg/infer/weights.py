"""Trained weights in a safetensors file, with all that is needed to build the network again; never a pickle."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import nn

from cohortseg.errors import StudyError
from cohortseg.infer.networks import build_network

KEY = "cohortseg"


def save_weights(path: Path, network: nn.Module, metadata: Mapping[str, Any]) -> str:
    """Write the weights and the metadata; the same input gives the same bytes, and a reader never sees half a file.

    Parameters
    ----------
    path : Path
        File to write (`weights.safetensors`).
    network : nn.Module
        Its state is stored, on whatever device it is.
    metadata : mapping
        Plain values ready for JSON, with `architecture` (a name) and `arguments` (of its builder); further for example
        normalisation, patch and class names.

    Returns
    -------
    str
        SHA-256 of the file.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    text = json.dumps({**metadata}, sort_keys=True, allow_nan=False)
    unfinished = path.with_name(path.name + ".tmp")
    unfinished.write_bytes(safetensors.torch.save(tensors, metadata={KEY: text}))
    unfinished.replace(path)
    return weights_digest(path)


def weights_digest(path: Path) -> str:
    """SHA-256 of a weights file, which covers the weights and the metadata."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_metadata(path: Path) -> dict[str, Any]:
    """The metadata of a weights file, without reading the weights.

    Raises
    ------
    StudyError
        When the file is damaged or was not written by `save_weights`.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            values: dict[str, Any] = json.loads((file.metadata() or {})[KEY])
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise StudyError(f"the weights cannot be read ({type(error).__name__}); train again") from error
    return values


def load_network(path: Path, device: torch.device) -> tuple[nn.Module, dict[str, Any]]:
    """The network of a weights file, in evaluation mode on the device, and the metadata.

    Raises
    ------
    StudyError
        When the file is damaged, was not written by `save_weights` or does not fit its own architecture.
    """
    metadata = read_metadata(path)
    try:
        network = build_network(metadata["architecture"], metadata["arguments"], seed=0)
        network.load_state_dict(safetensors.torch.load_file(path))
    except (KeyError, RuntimeError) as error:
        raise StudyError("the weights do not fit their architecture; train again") from error
    return network.to(device).eval(), metadata


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file by name.

    Raises
    ------
    StudyError
        When there is none or it is damaged.
    """
    try:
        return dict(safetensors.torch.load_file(path))
    except (safetensors.SafetensorError, OSError) as error:
        raise StudyError(f"the weights {path.name} cannot be read ({type(error).__name__})") from error
