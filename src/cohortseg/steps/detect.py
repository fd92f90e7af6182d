"""Candidates of a case against its lesions: from the cleaned label, or from stored probabilities."""

from typing import Any

import numpy as np

from cohortseg.ignored import IGNORE, left_out
from cohortseg.io import store
from cohortseg.metrics.hits import detection_record
from cohortseg.metrics.regions import holds
from cohortseg.settings import CandidateSettings
from cohortseg.volume import Array, Volume


def detected(
    reference: Volume,
    prediction: Volume,
    probabilities: dict[str, Any],
    labels: dict[str, list[int]],
    settings: CandidateSettings,
) -> dict[str, dict[str, Any]]:
    """By label what `metrics.hits` records, and what the candidates were made of (`source`: label, probability)."""
    predicted, found = left_out(prediction.array, reference.array), {}
    for name, numbers in labels.items():
        probability = probabilities.get(name)
        source = "label" if probability is None or settings.candidates_above is None else "probability"
        candidates = holds(predicted, numbers)
        if source == "probability":
            candidates = _above(probability, float(settings.candidates_above or 0), reference.array)
        record = detection_record(
            holds(reference.array, numbers),
            candidates,
            spacing_mm=reference.grid.spacing_mm,
            rule=settings.hit,
            min_jaccard=settings.min_jaccard,
            min_candidate_ml=settings.min_candidate_ml,
            probability=probability,
        )
        found[name] = {"source": source, **record}
    return found


def _above(probability: Any, threshold: float, reference: Array) -> Array:
    """Where a probability is at least a threshold and the reference was judged, some slices at a time."""
    found = np.zeros(reference.shape, bool)
    for start in range(0, reference.shape[0], store.CHUNK):
        part = slice(start, start + store.CHUNK)
        kept = np.asarray(probability[part, :, :]) >= np.float32(threshold)
        found[part] = kept & (reference[part] != IGNORE)
    return found
