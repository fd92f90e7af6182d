"""What a training is resumed from: written whole or not at all, and used only when it belongs to the same run."""

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

LOG = logging.getLogger(__name__)


def identity_of(values: Mapping[str, Any]) -> str:
    """SHA-256 of plain values: two runs with the same one compute the same thing."""
    return hashlib.sha256(json.dumps({**values}, sort_keys=True).encode()).hexdigest()


def write_checkpoint(path: Path, state: Mapping[str, Any], *, identity: str) -> None:
    """Write tensors and plain values, atomically."""
    unfinished = path.with_name(path.name + ".tmp")
    torch.save({"identity": identity, **state}, unfinished)
    unfinished.replace(path)


def read_checkpoint(path: Path, *, identity: str) -> dict[str, Any] | None:
    """The state that `write_checkpoint` wrote; none when there is no file, or it is damaged or of another run.

    No code in the file is executed. Why a file is not used is logged.
    """
    if not path.exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        LOG.warning("the checkpoint is damaged (%s) and is ignored: training starts anew", type(error).__name__)
        return None
    if not isinstance(state, dict) or state.pop("identity", None) != identity:
        LOG.warning("the checkpoint belongs to another training and is ignored: training starts anew")
        return None
    return state
