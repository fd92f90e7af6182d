"""What one can do about each reason code: the sentence that turns a rejection into the next action."""

WAYS_OUT: dict[str, str] = {
    "NOT_DICOM": "Nothing to do if it is no image; for image files set `cohort.images` to a pattern of their paths.",
    "UNREADABLE": "Fetch the file again from its archive; it may have been cut short while copying.",
    "NOT_AN_IMAGE": "Nothing to do: such objects are counted, not segmented.",
    "NOT_SELECTED": "Widen `cohort.series` (or the channel in `cohort.channels`) if this series was meant.",
    "DUPLICATE_OBJECT": "Nothing to do; remove the second copy from the source folder to silence this line.",
    "MIXED_PATIENTS": "Check the anonymisation: one SeriesInstanceUID was given to the scans of several people.",
    "FORGOTTEN": "Nothing to do; remove the scans from the source folder too.",
    "EXCLUDED": "Take the case off `cohort.exclude` to use it.",
    "BURNED_IN": "Look at the pixels; if they show no identity, set `cohort.series.burned_in: keep`.",
    "NOT_CHOSEN": "Nothing to do; `cohort.series.choose` says which of several series is taken, `all` takes each.",
    "SEVERAL_SERIES": "Set `choose` of that channel in `cohort.channels` (as in `cohort.series.choose`), or narrow it.",
    "MISSING_CHANNEL": "Add the series to the source folder, or fill with zeros: `cohort.missing_channel: zero`.",
    "TOO_FEW_SLICES": "Lower `cohort.series.min_slices` if the series was meant; scouts and localisers stay out.",
    "NO_POSITION": "Export the series again with its geometry; without positions, volumes would be guesses.",
    "MIXED_ORIENTATION": "Choose by `cohort.series.orientation`, or drop strays: `convert.mend: [stray_slices]`.",
    "MIXED_MATRIX": "Choose one by `cohort.series.description`, or drop strays: `convert.mend: [stray_slices]`.",
    "DUPLICATE_POSITION": "Volumes: set `cohort.series.phases`; mere copies: `convert.mend: [repeated_slices]`.",
    "MISSING_SLICE": "Fetch the series again: a file is missing; or interpolate: `convert.mend: [missing_slices]`.",
    "UNEVEN_SPACING": "Look for missing files first; if it is truly uneven, set `convert.mend: [uneven_spacing]`.",
    "GANTRY_TILT": "Set `convert.gantry_tilt: deskew`, or use a reconstruction without tilt.",
    "SEVERAL_PHASES": "Choose by `cohort.series.phases` (first, last, a number), or make each a case with `all`.",
    "NO_FRAMES": "Export again as single-frame series, or as an enhanced object that says where each frame lies.",
    "OTHER_FRAME": "If both show the body at rest, have channels aligned: `convert.registration: rigid`.",
    "NOT_REGISTERED": "Compare the images; channels that share a frame need none: `convert.registration: none`.",
    "TRUNCATED": "Fetch the file again from its archive.",
    "UNSUPPORTED_SYNTAX": "Export again in a common transfer syntax, such as Explicit VR Little Endian.",
    "UNSUPPORTED_PIXELS": "Use the greyscale series; screenshots and colour maps hold no measurements.",
    "BAD_RESCALE": "Export the series again: without its factors a slice would lie on another scale than the rest.",
    "NOT_A_NUMBER": "Have the program that wrote the image fill the gaps with the value of the background.",
    "NO_UNITS": "Fetch the original PET series: weight, dose and times must still be in its header.",
    "SOURCE_CHANGED": "Run again: the index is renewed at each start (`cohortseg index` does so by hand).",
    "NO_LABEL": "Put the label object into the source folder, or set `cohort.labels.missing: predict`.",
    "SEVERAL_LABELS": "Set `cohort.labels.several: newest`, choose by `cohort.labels.kind`, or remove the others.",
    "LABEL_UNREADABLE": "Export the label object again from the contouring software.",
    "LABEL_OTHER_PATIENT": "Check the export: this label object belongs to another person.",
    "LABEL_STRUCTURE_MISSING": "Widen `cohort.labels.structures` (`cohortseg index --dry-run` lists the names), or set "
    "`cohort.labels.missing_structure: empty`.",
    "LABEL_OFF_GRID": "Export it on the grid of the image, or resample it here: `cohort.labels.resample: true`.",
    "LABEL_OUTSIDE": "Check that label and image belong together; export the full image if it was cropped.",
    "LABEL_VALUES": "Name every value of the label file in `cohort.labels.values`.",
    "NO_REFERENCE": "Nothing to do: the case is predicted, and can be scored once it has a reference label.",
}
"""Reason code: what to do."""


def way_out(reason: str) -> str:
    """What to do about `reason`; a general answer when the code is not known here."""
    return WAYS_OUT.get(reason, "`cohortseg explain CASE` shows what is known about a case.")
