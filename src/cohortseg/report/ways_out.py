"""What one can do about each reason code: the sentence that turns a rejection into the next action."""

WAYS_OUT: dict[str, str] = {
    "NOT_DICOM": "Nothing to do if it is no image; for image files set `cohort.images` to a pattern of their paths.",
    "UNREADABLE": "Fetch the file again from its archive; it may have been cut short while copying.",
    "NOT_AN_IMAGE": "Nothing to do: such objects are counted, not segmented.",
    "NOT_SELECTED": "Widen `cohort.series` if this series was meant.",
    "DUPLICATE_OBJECT": "Nothing to do; remove the second copy from the source folder to silence this line.",
    "NOT_CHOSEN": "Nothing to do; `cohort.series.choose: all` takes every matching series.",
    "MIXED_PATIENTS": "Check the anonymisation: one SeriesInstanceUID was given to the scans of several people.",
    "BURNED_IN": "Look at the image; if no identity is drawn into it, set `cohort.series.burned_in: keep`.",
    "NO_FRAMES": "Export the series as single-frame objects; enhanced multi-frame objects are not read yet.",
    "EXCLUDED": "Take the case off `cohort.exclude` to use it.",
    "TOO_FEW_SLICES": "Lower `cohort.series.min_slices` if the series was meant; scouts and localisers stay out.",
    "NO_POSITION": "Export the series again with its geometry; without positions, volumes would be guesses.",
    "MIXED_ORIENTATION": "Often a localiser: `convert.mend: [stray_slices]` leaves it out.",
    "MIXED_MATRIX": "Split the series by matrix size and choose one by `cohort.series.description`.",
    "DUPLICATE_POSITION": "Split the series by phase; `convert.mend: [repeated_slices]` leaves plain copies out.",
    "MISSING_SLICE": "Fetch the missing files, or interpolate single slices with `convert.mend: [missing_slices]`.",
    "UNEVEN_SPACING": "Look for missing files first; if it is truly uneven, use `convert.mend: [uneven_spacing]`.",
    "GANTRY_TILT": "Set `convert.gantry_tilt: deskew`, or use a reconstruction without tilt.",
    "TRUNCATED": "Fetch the file again from its archive.",
    "UNSUPPORTED_SYNTAX": "Export again in a common transfer syntax, such as Explicit VR Little Endian.",
    "UNSUPPORTED_PIXELS": "Use the greyscale, single-frame series; screenshots and colour maps hold no measurements.",
    "NOT_A_NUMBER": "Have the program that wrote the image fill the gaps with the value of the background.",
    "NO_UNITS": "Fetch the original PET series: weight, dose and times must still be in its header.",
    "SOURCE_CHANGED": "Run again: the index is renewed at each start (`cohortseg index` does so by hand).",
    "NO_LABEL": "Put the label object into the source folder, or set `cohort.labels.missing: predict`.",
    "SEVERAL_LABELS": "Say which is meant by `cohort.labels.kind` or `cohort.labels.structures`, or remove the others.",
    "LABEL_UNREADABLE": "Export the label object again from the contouring software.",
    "LABEL_OTHER_PATIENT": "Check the export: this label object belongs to another person.",
    "LABEL_OTHER_FRAME": "Check the export: the label was drawn on another image, or one of the two was moved.",
    "LABEL_STRUCTURE_MISSING": "Compare names with `cohort.labels.structures`; or set `missing_structure: empty`.",
    "LABEL_OFF_GRID": "Export the label on the grid of the image, or resample it (nearest neighbour) before.",
    "LABEL_OUTSIDE": "Check that label and image belong together; export the full image if it was cropped.",
    "LABEL_VALUES": "Name every value of the label file in `cohort.labels.values`.",
    "NO_REFERENCE": "Nothing to do: the case is predicted, and can be scored once it has a reference label.",
}
"""Reason code: what to do."""


def way_out(reason: str) -> str:
    """What to do about `reason`; a general answer when the code is not known here."""
    return WAYS_OUT.get(reason, "`cohortseg explain CASE` shows what is known about a case.")
