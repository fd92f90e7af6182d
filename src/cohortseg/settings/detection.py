"""Settings of detection: what a candidate is, when it hits a lesion, and where on the curve the method works."""

from typing import Literal

from pydantic import Field

from cohortseg.settings.base import NotNegative, Part, Positive


class CandidateSettings(Part):
    """What of the settings of detection is asked of single cases."""

    candidates_above: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="candidates are what is connected above this probability, where a method keeps it (`probabilities: true`), else, and when empty, the components of the cleaned label",
    )
    min_candidate_ml: NotNegative = Field(0.0, description="smaller candidates are left out")
    hit: Literal["touch", "overlap", "centre"] = Field(
        "touch",
        description="a candidate hits a lesion when: touch: they share a voxel; overlap: their Jaccard index is at least `min_jaccard`; centre: its centre is nearer to the lesion's than the radius of a ball (of a disk, in a plane) of the lesion's size",
    )
    min_jaccard: float = Field(0.1, gt=0, le=1, description="smallest Jaccard index of a hit, for `overlap`")


class DetectionSettings(CandidateSettings):
    """Lesions found and false alarms where only candidates from a score on count; the score is chosen by other folds."""

    score: Literal["max_probability", "mean_probability", "volume_ml"] = Field(
        "max_probability",
        description="score of a candidate: largest or mean probability of its voxels, or its volume; the volume where a method keeps no probabilities",
    )
    false_per_scan: Positive = Field(
        1.0,
        description="the score is chosen, for each fold by the validation cases of the other folds, as the one that finds most lesions with at most so many false candidates per scan",
    )

    def of_candidates(self) -> CandidateSettings:
        """Only what single cases are asked for: another operating point measures no case again."""
        return CandidateSettings(**{name: getattr(self, name) for name in CandidateSettings.model_fields})
