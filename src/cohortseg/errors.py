"""The family of errors, and the reason codes of rejected cases.

    CohortError                 catch this to catch all
      SettingsError             the configuration asks for something impossible
      StudyError                a study folder is missing, damaged, locked or made by another version
      LeakageError              one scan stands under two subjects
      Rejected                  one case cannot be used: reason code + message (data, never machinery)

A `Rejected` never stops a study: the step that raises it writes a rejected sidecar and goes on with the next case.
"""

REASONS: dict[str, str] = {
    # index
    "NOT_DICOM": "the file is no DICOM and matches no pattern of the settings",
    "UNREADABLE": "the file cannot be opened or its header is broken",
    "NOT_AN_IMAGE": "a DICOM object without an image series (plan, dose, report, presentation state)",
    "NOT_SELECTED": "the series does not match the selection of the settings",
    "DUPLICATE_OBJECT": "the same object is present twice; the first copy is used",
    "MIXED_PATIENTS": "the slices of one series name more than one patient",
    "FORGOTTEN": "the person was taken out of the study by `cohortseg forget`",
    "EXCLUDED": "the settings exclude this case by name",
    "BURNED_IN": "the image says that identity is burned into its pixels",
    "NOT_CHOSEN": "another series of the same subject or study was chosen by the settings",
    "SEVERAL_SERIES": "several series match one channel and the settings choose none",
    "MISSING_CHANNEL": "the case lacks a channel that the settings ask for",
    # geometry
    "TOO_FEW_SLICES": "fewer slices than the settings ask for",
    "NO_POSITION": "a slice carries no position or orientation",
    "MIXED_ORIENTATION": "the slices have more than one orientation",
    "MIXED_MATRIX": "the slices differ in rows, columns or pixel spacing",
    "DUPLICATE_POSITION": "two slices lie at the same position (several phases, or a repeated slice)",
    "MISSING_SLICE": "the distance between neighbouring slices doubles: a slice is missing",
    "UNEVEN_SPACING": "the distances between slices vary beyond the tolerance",
    "GANTRY_TILT": "the slices are sheared against their normal (gantry tilt)",
    "SEVERAL_PHASES": "the series holds several volumes (phases, echoes, b-values) and the settings choose none",
    "NO_FRAMES": "the multi-frame object does not say where its frames lie",
    "OTHER_FRAME": "slices, channels, or label and image lie in different frames of reference",
    "NOT_REGISTERED": "the registration of a channel did not converge",
    # pixels
    "TRUNCATED": "the pixel data are shorter than the header says",
    "UNSUPPORTED_SYNTAX": "no decoder for this transfer syntax",
    "UNSUPPORTED_PIXELS": "the pixel format is not supported (colour, palette, multi-frame)",
    "BAD_RESCALE": "slices lack the rescale slope or intercept that others carry, or it is zero or absurd",
    "NOT_A_NUMBER": "the image holds NaN or infinite values",
    "NO_UNITS": "the PET units or the tags that SUV needs are missing",
    "SOURCE_CHANGED": "a source file changed or vanished after it was indexed",
    # labels
    "NO_LABEL": "no label object belongs to this series",
    "SEVERAL_LABELS": "several label objects belong to this series and the settings do not choose one",
    "LABEL_UNREADABLE": "the label object cannot be read",
    "LABEL_OTHER_PATIENT": "the label object names another patient than the image",
    "LABEL_STRUCTURE_MISSING": "the label object does not name a wanted structure",
    "LABEL_OFF_GRID": "the label does not lie on the grid of the image",
    "LABEL_OUTSIDE": "a part of the label lies outside the image",
    "LABEL_VALUES": "the label holds values that the settings do not name",
    # later stages
    "NO_REFERENCE": "the case has no reference label to compare with",
}


class CohortError(Exception):
    """Base of all errors that cohortseg raises on purpose."""

    @property
    def out_of_time(self) -> bool:
        """Whether the work is saved and only needs more time."""
        return False


class SettingsError(CohortError, ValueError):
    """The configuration asks for something impossible."""


class StudyError(CohortError, RuntimeError):
    """A study folder is missing, damaged, or made by another version."""


class LeakageError(CohortError, ValueError):
    """The same scan stands under two subjects, so folds cannot be kept apart."""


class Rejected(CohortError, ValueError):
    """One case cannot be used.

    Parameters
    ----------
    reason : str
        A key of `REASONS`.
    found : str
        What was found, with numbers; never a name, an id or a path.
    """

    def __init__(self, reason: str, found: str) -> None:
        if reason not in REASONS:
            raise KeyError(f"unknown reason code {reason!r}; add it to errors.REASONS")
        super().__init__(f"{reason}: {found}")
        self.reason = reason
        self.found = found

    def __reduce__(self) -> tuple[type["Rejected"], tuple[str, str]]:
        return Rejected, (self.reason, self.found)
