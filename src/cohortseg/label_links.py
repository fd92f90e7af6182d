"""Which label belongs to which scan: by the series it names, the subject, the frame of reference, or the file name.

Nothing here opens a file.
"""

import re
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from cohortseg.endings import CONTOURS, PICTURES, VOLUMES
from cohortseg.errors import Rejected
from cohortseg.scans import Fates, File, Scan, groups_of, patient_of
from cohortseg.settings import CohortSettings, LabelSettings

LABEL_FILES = (*VOLUMES, *PICTURES, *CONTOURS)

Source: TypeAlias = dict[str, Any]


@dataclass
class Label:
    """A label object: one file, or the series of masks of one image.

    Parameters
    ----------
    kind : {'rtstruct', 'seg', 'files', 'series'}
    patient : str
        Original id of whom it belongs to.
    files : list of dict
        As in `Scan`.
    name : str
        What the group `scan` of `cohort.labels.files` found.
    classes : list of str
        For a mask series the classes that its description names.
    """

    kind: str
    patient: str
    files: list[File]
    name: str = ""
    classes: tuple[str, ...] = ()

    @property
    def header(self) -> dict[str, Any]:
        """Header of the first file; empty for a label file."""
        header: dict[str, Any] = self.files[0]["header"] or {}
        return header


Keyed: TypeAlias = dict[tuple[str, str], list[Label]]
"""Labels by what a scan finds them by."""


def labels_of(files: list[File], settings: CohortSettings, fates: Fates) -> list[Label]:
    """Label objects and label files; the second copy of an object and files without image get their fate."""
    wanted = settings.labels.kind
    labels = []
    seen: set[str] = set()
    for file in files:
        header = file["header"]
        if header is not None and header["kind"] in ("rtstruct", "seg") and wanted in ("auto", header["kind"]):
            if header["sop_uid"] in seen:
                fates[file["path"]] = ("", "DUPLICATE_OBJECT")
            elif settings.labels.structures:
                # Without names of structures such an object would be read as an empty label.
                labels.append(Label(header["kind"], patient_of(header), [file]))
            seen.add(header["sop_uid"])
        elif header is None and settings.labels.files is not None and wanted in ("auto", "files"):
            match = groups_of(settings.labels.files, file["path"], "cohort.labels.files")
            if match is not None and file["path"].lower().endswith(LABEL_FILES):
                labels.append(Label("files", match["subject"], [file], match.get("scan") or ""))
                fates[file["path"]] = ("", "label without image")
    return labels


def masks_among(scans: list[Scan], settings: LabelSettings, fates: Fates) -> tuple[list[Scan], list[Label]]:
    """Part scans from series that are masks: those whose description names a class, where the settings want such."""
    if settings.kind != "series":
        return scans, []
    images, masks = [], []
    for scan in scans:
        words = scan.first.get("series_description")
        classes = tuple(name for name, patterns in settings.patterns.items() if _fits(words, patterns))
        if classes and scan.kind == "dicom":
            masks.append(Label("series", scan.patient, scan.files, classes=classes))
            fates |= {file["path"]: ("", "label without image") for file in scan.files}
        else:
            images.append(scan)
    return images, masks


def find_owners(labels: list[Label], patients: list[str]) -> None:
    """Give each label file the id of the scans it belongs to: the very id, or else the only one that reads alike."""
    alike: dict[str, list[str]] = defaultdict(list)
    for patient in patients:
        alike[_plain(patient)].append(patient)
    for label in labels:
        owners = alike.get(_plain(label.patient), [])
        if label.kind == "files" and label.patient not in owners and len(owners) == 1:
            label.patient = owners[0]


def _plain(text: str) -> str:
    """Letters and digits of any script, in lower case; the text itself where there are none."""
    return "-".join(re.findall(r"[^\W_]+", text.lower())) or text


def by_key(labels: list[Label]) -> Keyed:
    """Labels by the series that they name, or by the subject where they name none."""
    keyed: Keyed = defaultdict(list)
    for label in labels:
        uids = label.header.get("referenced_series_uids") if label.kind in ("rtstruct", "seg") else None
        for key in [("series", uid) for uid in dict.fromkeys(uids)] if uids else [("patient", label.patient)]:
            keyed[key].append(label)
    return keyed


def label_of(scan: Scan, labels: Keyed, settings: LabelSettings) -> list[Label]:
    """The label of a scan: one object, or the masks of its classes; nothing when it has none and may go without.

    `labels` are those of `by_key`.

    Raises
    ------
    Rejected
        NO_LABEL, SEVERAL_LABELS, LABEL_OTHER_PATIENT, OTHER_FRAME.
    """
    near = [*labels.get(("series", str(scan.first.get("series_uid"))), ()), *labels.get(("patient", scan.patient), ())]
    candidates = [label for label in near if _belongs(label, scan)]
    naming = [label for label in candidates if _names_a_structure(label, settings)]
    if naming and len(candidates) > 1:
        candidates = naming
    if candidates and candidates[0].kind == "series":
        return _one_mask_per_class(candidates, settings)
    if len(candidates) > 1:
        if settings.several == "reject":
            kinds = ", ".join(sorted(label.kind for label in candidates))
            raise Rejected("SEVERAL_LABELS", f"{len(candidates)} label objects ({kinds})")
        candidates = [max(candidates, key=_moment)]
    if not candidates:
        if settings.missing == "reject" and settings.kind != "none":
            raise Rejected("NO_LABEL", "no label object refers to this series")
        return []
    label = candidates[0]
    if label.kind != "files":
        if label.header["patient_id"] not in (None, "", scan.first["patient_id"]):
            raise Rejected("LABEL_OTHER_PATIENT", f"the {label.kind} that refers to this series has another PatientID")
        _check_frame(label, scan)
    return [label]


def _one_mask_per_class(masks: list[Label], settings: LabelSettings) -> list[Label]:
    taken: dict[str, Label] = {}
    for mask in sorted(masks, key=_moment):
        for name in mask.classes:
            if name in taken and settings.several == "reject":
                raise Rejected("SEVERAL_LABELS", f"several mask series of class {name}")
            taken[name] = mask
    missing = next((name for name in settings.classes if name not in taken), None)
    if settings.missing_structure == "reject" and missing is not None:
        raise Rejected("LABEL_STRUCTURE_MISSING", f"no mask series of class {missing}")
    owned = [(mask, tuple(name for name in settings.names if taken.get(name) is mask)) for mask in masks]
    return [replace(mask, classes=own) for mask, own in owned if own]


def _moment(label: Label) -> tuple[str, str, str]:
    """When a label was made; the path tells equal ones apart, so that the choice stays."""
    header = label.header
    day = header.get("date") or header.get("series_date") or header.get("study_date") or ""
    time = header.get("time") or header.get("series_time") or ""
    return (str(day), str(time), str(label.files[0]["path"]))


def _check_frame(label: Label, scan: Scan) -> None:
    """A label that names the series, but lies in another frame of reference, was drawn on something else."""
    frames = _frames(label)
    frame = scan.first.get("frame_uid")
    if frame and frames and frame not in frames:
        raise Rejected("OTHER_FRAME", f"none of {len(frames)} frames of reference of the {label.kind} fits")


def _frames(label: Label) -> list[str]:
    header = label.header
    return header.get("referenced_frame_uids") or [uid for uid in [header.get("frame_uid")] if uid]


def _belongs(label: Label, scan: Scan) -> bool:
    """By series; by subject for files; by subject and frame of reference only where the label names no series."""
    if label.kind == "files":
        return label.patient == scan.patient and label.name == scan.name
    header, frame = label.header, scan.first.get("frame_uid")
    if label.kind == "series":
        if label.patient != scan.patient:
            return False
        study = scan.first.get("study_uid")
        both = bool(frame and header.get("frame_uid"))
        return bool(frame == header["frame_uid"] if both else study == header["study_uid"])
    if header["referenced_series_uids"]:
        return scan.first.get("series_uid") in header["referenced_series_uids"]
    return bool(frame) and frame in _frames(label) and label.patient == scan.patient


def _names_a_structure(label: Label, settings: LabelSettings) -> bool:
    return any(_matches(name, settings) for name, _ in _structures(label))


def _structures(label: Label) -> list[tuple[str, bool]]:
    """Names of the structures of a label object, and whether each holds anything."""
    header = label.header
    if label.kind == "rtstruct":
        return [(roi["name"], roi["n_contours"] > 0) for roi in header["rois"]]
    if label.kind == "seg":
        return [(segment["label"] or "", (header.get("n_frames") or 0) > 0) for segment in header["segments"]]
    return []


def structure_names(header: dict[str, Any]) -> set[str]:
    """Names of the structures of an RTSTRUCT, or of the segments of a DICOM segmentation; nothing for other files."""
    found = [roi["name"] for roi in header.get("rois") or ()]
    found += [segment["label"] for segment in header.get("segments") or ()]
    return {name.strip() for name in found if name and name.strip()}


def positive(labels: list[Label], settings: LabelSettings) -> str:
    """Whether the header says that the label holds anything: yes, no, unknown."""
    if not labels or labels[0].kind in ("files", "series"):
        return "unknown"
    return "yes" if any(full and _matches(name, settings) for name, full in _structures(labels[0])) else "no"


def _matches(name: str, settings: LabelSettings) -> bool:
    return any(_fits(name, settings.patterns[own]) for own in settings.classes if own in settings.patterns)


def _fits(name: str | None, patterns: tuple[str, ...]) -> bool:
    return any(re.fullmatch(pattern, (name or "").strip()) for pattern in patterns)


def source_of(labels: list[Label]) -> Source | None:
    """What `convert` needs to know of the label of a case; None where there is none."""
    if not labels:
        return None
    parts = [{"classes": list(label.classes), "files": label.files} for label in labels]
    return {"kind": labels[0].kind, "parts": parts}
