"""From the headers of all files to cases with their labels: what each file is, and what became of it.

Nothing here opens a file. Original ids, UIDs and paths stay in `Identities` and the sources: `private/` only.
"""

import hashlib
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from cohortseg.cohort import Case
from cohortseg.errors import Rejected, SettingsError
from cohortseg.names import NO_ID, Identities, name_cases, name_subjects
from cohortseg.selection import check_series, chosen
from cohortseg.settings import CohortSettings

IMAGE_FILES = (".nii", ".nii.gz", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True)
class Scan:
    """One image: a DICOM series, or an image file.

    Parameters
    ----------
    key : str
        SeriesInstanceUID, or the file's path.
    patient : str
        Original id of the subject.
    files : list of dict
        `path, size, mtime_ns, header` of each file.
    """

    key: str
    patient: str
    modality: str
    files: list[dict[str, Any]]
    deidentified: bool

    @property
    def first(self) -> dict[str, Any]:
        """Header of the first file; empty for an image file."""
        header: dict[str, Any] = self.files[0]["header"] or {}
        return header


@dataclass(frozen=True)
class Catalogue:
    """What the index found.

    Parameters
    ----------
    cases : list of Case
        Usable cases, without fold and batch.
    sources : dict
        Case name to the files it is made of (private).
    rejected, series : list of dict
        Rows of `rejected.tsv` and `series.tsv`.
    files : list of dict
        Rows of the private table of files.
    """

    cases: list[Case]
    sources: dict[str, dict[str, Any]]
    rejected: list[dict[str, Any]]
    series: list[dict[str, Any]]
    files: list[dict[str, Any]]


def catalogue(found: Iterable[Any], settings: CohortSettings, identities: Identities) -> Catalogue:
    """Sort the found files into scans, labels and the rest, and link them.

    Parameters
    ----------
    found : iterable of FoundFile
        All files of the source folder, sorted by path.
    settings : CohortSettings
        Selection and labels.
    identities : Identities
        Names given so far; new ones are added in place.
    """
    files = [vars(file) for file in found]
    fates: dict[str, tuple[str, str]] = {}
    scans, labels = _scans(files, settings, fates), _labels(files, settings, fates)
    _find_owners(labels, sorted({scan.patient for scan in scans}))
    name_subjects([(scan.patient, scan.deidentified or settings.deidentified) for scan in scans], identities)
    name_cases([(scan.key, scan.patient, scan.modality) for scan in scans], identities)
    strangers = sorted(set(settings.exclude) - set(identities.cases.values()))
    if strangers:
        raise SettingsError(f"cohort.exclude: no case is called {', '.join(map(repr, strangers))}")
    left_out = _not_chosen(scans, settings, identities)
    result = Catalogue([], {}, [], [], [])
    for scan in sorted(scans, key=lambda scan: identities.cases[scan.key]):
        name, subject = identities.cases[scan.key], identities.subjects[scan.patient]
        row = {"case": name, "subject": subject, **_facts(scan), "n_files": len(scan.files)}
        try:
            _check_selected(scan, name, settings)
            _check_chosen(scan, left_out, settings)
            label = _label_of(scan, labels, settings)
        except Rejected as rejected:
            result.rejected.append(
                {"case": name, "subject": subject, "reason": rejected.reason, "found": rejected.found}
            )
            result.series.append({**row, "status": "rejected", "reason": rejected.reason})
            fates |= {file["path"]: (name, rejected.reason) for file in scan.files}
            continue
        source = {"kind": "dicom" if scan.files[0]["header"] else "file", "key": scan.key, "modality": scan.modality}
        result.sources[name] = {**source, "files": scan.files, "label": label}
        result.cases.append(_case(scan, name, subject, label, settings))
        result.series.append({**row, "status": "case", "reason": ""})
        fates |= {file["path"]: (name, "image") for file in scan.files}
        if label is not None:
            fates[label["path"]] = (name, "label")
    _rest(files, fates, result)
    return result


# ---- scans and labels -----------------------------------------------------------------------------------------------


def _scans(files: list[dict[str, Any]], settings: CohortSettings, fates: dict[str, tuple[str, str]]) -> list[Scan]:
    if settings.images is not None:
        return [
            Scan(file["path"], match["subject"], settings.modality, [file], False)
            for file in files
            if (match := _match(settings.images, file["path"], "cohort.images")) is not None
        ]
    series: dict[str, list[dict[str, Any]]] = defaultdict(list)
    seen: set[str] = set()
    for file in files:
        header = file["header"]
        if header is None or header["kind"] != "image" or not header.get("series_uid"):
            continue
        if header["sop_uid"] in seen:
            fates[file["path"]] = ("", "DUPLICATE_OBJECT")
            continue
        seen.add(header["sop_uid"])
        series[header["series_uid"]].append(file)
    return [
        Scan(
            uid,
            _patient(members[0]["header"]),
            members[0]["header"]["modality"] or "OT",
            members,
            all(member["header"]["identity_removed"] for member in members),
        )
        for uid, members in series.items()
    ]


def _patient(header: dict[str, Any]) -> str:
    return header["patient_id"] or f"{NO_ID}{header.get('study_uid')}"


def _labels(
    files: list[dict[str, Any]], settings: CohortSettings, fates: dict[str, tuple[str, str]]
) -> list[dict[str, Any]]:
    """Label objects and label files: kind, file and whom they belong to."""
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
                labels.append({"kind": header["kind"], "patient": _patient(header), **file})
            seen.add(header["sop_uid"])
        elif header is None and settings.labels.files is not None and wanted in ("auto", "files"):
            match = _match(settings.labels.files, file["path"], "cohort.labels.files")
            if match is not None and file["path"].endswith(IMAGE_FILES):
                labels.append({"kind": "files", "patient": match["subject"], **file})
                fates[file["path"]] = ("", "label without image")
    return labels


def _find_owners(labels: list[dict[str, Any]], patients: list[str]) -> None:
    """Give each label file the id of the scans it belongs to: the very id, or else the only one that reads alike."""
    alike: dict[str, list[str]] = defaultdict(list)
    for patient in patients:
        alike[_plain(patient)].append(patient)
    for label in labels:
        owners = alike.get(_plain(label["patient"]), [])
        if label["kind"] == "files" and label["patient"] not in owners and len(owners) == 1:
            label["patient"] = owners[0]


def _plain(text: str) -> str:
    """Letters and digits of any script, in lower case; the text itself where there are none."""
    return "-".join(re.findall(r"[^\W_]+", text.lower())) or text


def _match(pattern: str, path: str, key: str) -> dict[str, str] | None:
    match = re.search(pattern, path)
    if match is None:
        return None
    if "subject" not in match.groupdict():
        raise SettingsError(f"{key}: the pattern needs a group `(?P<subject>…)` (got {pattern!r})")
    return match.groupdict() if match["subject"] else None


def _label_of(scan: Scan, labels: list[dict[str, Any]], settings: CohortSettings) -> dict[str, Any] | None:
    """The one label of a scan; None when it has none and may go without."""
    candidates = [label for label in labels if _belongs(label, scan)]
    named = [label for label in candidates if _names_a_structure(label, settings)]
    candidates = named or candidates
    if len(candidates) > 1:
        kinds = ", ".join(sorted(label["kind"] for label in candidates))
        raise Rejected("SEVERAL_LABELS", f"{len(candidates)} label objects ({kinds})")
    if not candidates:
        if settings.labels.missing == "reject" and settings.labels.kind != "none":
            raise Rejected("NO_LABEL", "no label object refers to this series")
        return None
    label = candidates[0]
    if label["kind"] != "files" and label["header"]["patient_id"] not in (None, "", scan.first["patient_id"]):
        raise Rejected("LABEL_OTHER_PATIENT", f"the {label['kind']} that refers to this series has another PatientID")
    if label["kind"] != "files":
        _check_frame(label, scan)
    return label


def _check_frame(label: dict[str, Any], scan: Scan) -> None:
    """A label that names the series, but lies in another frame of reference, was drawn on something else."""
    header = label["header"]
    frames = header.get("referenced_frame_uids") or [uid for uid in [header.get("frame_uid")] if uid]
    frame = scan.first.get("frame_uid")
    if frame and frames and frame not in frames:
        raise Rejected("OTHER_FRAME", f"none of {len(frames)} frames of reference of the {label['kind']} fits")


def _belongs(label: dict[str, Any], scan: Scan) -> bool:
    """By series; by subject for files; by subject and frame of reference only where the label names no series."""
    if label["kind"] == "files":
        return bool(label["patient"] == scan.patient)
    header = label["header"]
    if header["referenced_series_uids"]:
        return scan.key in header["referenced_series_uids"]
    frames = header.get("referenced_frame_uids") or [header.get("frame_uid")]
    frame = scan.first.get("frame_uid")
    return bool(frame) and frame in frames and label["patient"] == scan.patient


def _names_a_structure(label: dict[str, Any], settings: CohortSettings) -> bool:
    return any(_matches(name, settings) for name, _ in _structures(label))


def _structures(label: dict[str, Any]) -> list[tuple[str, bool]]:
    """Names of the structures of a label object, and whether each holds anything."""
    header = label["header"] or {}
    if label["kind"] == "rtstruct":
        return [(roi["name"], roi["n_contours"] > 0) for roi in header["rois"]]
    if label["kind"] == "seg":
        return [(segment["label"] or "", (header.get("n_frames") or 0) > 0) for segment in header["segments"]]
    return []


def _matches(name: str, settings: CohortSettings) -> bool:
    patterns = (pattern for patterns in settings.labels.structures.values() for pattern in patterns)
    return any(re.fullmatch(pattern, name.strip()) for pattern in patterns)


# ---- selection and facts --------------------------------------------------------------------------------------------


def _check_selected(scan: Scan, name: str, settings: CohortSettings) -> None:
    if name in settings.exclude:
        raise Rejected("EXCLUDED", "named in cohort.exclude")
    if settings.images is None:
        patients = {file["header"]["patient_id"] for file in scan.files}
        if len(patients) > 1:
            raise Rejected("MIXED_PATIENTS", f"{len(patients)} patient ids in {len(scan.files)} files")
        check_series(scan.files, scan.modality, settings.series)


def _check_chosen(scan: Scan, left_out: set[str], settings: CohortSettings) -> None:
    if scan.key in left_out:
        raise Rejected("NOT_CHOSEN", f"cohort.series.choose is {settings.series.choose}")


def _not_chosen(scans: list[Scan], settings: CohortSettings, identities: Identities) -> set[str]:
    """Keys of the series that match, while the settings choose another one of the same study or subject."""
    if settings.images is not None or settings.series.choose == "all":
        return set()
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for scan in scans:
        try:
            _check_selected(scan, identities.cases[scan.key], settings)
        except Rejected:
            continue
        study = "" if settings.series.choose_per == "subject" else str(scan.first.get("study_uid"))
        groups[f"{scan.patient} {study}"][scan.key] = scan.files
    return {key for group in groups.values() for key in set(group) - {chosen(group, settings.series.choose)}}


def _facts(scan: Scan) -> dict[str, Any]:
    """Acquisition facts without identity."""
    header = scan.first
    thickness = header.get("slice_thickness_mm")
    return {
        "modality": scan.modality,
        "manufacturer": header.get("manufacturer") or "",
        "model": header.get("model") or "",
        "kernel": header.get("kernel") or "",
        "slice_thickness_mm": "" if thickness is None else f"{thickness:g}",
    }


def _case(scan: Scan, name: str, subject: str, label: dict[str, Any] | None, settings: CohortSettings) -> Case:
    header = scan.first
    shape = (len(scan.files), header.get("rows") or 0, header.get("columns") or 0)
    voxels = shape[0] * shape[1] * shape[2] if header else scan.files[0]["size"] * 2
    positive = "unknown"
    if label is not None and label["kind"] != "files":
        positive = "yes" if any(full and _matches(roi, settings) for roi, full in _structures(label)) else "no"
    facts = [[file["path"], file["size"], file["mtime_ns"]] for file in [*scan.files, *([label] if label else [])]]
    return Case(
        case=name,
        subject=subject,
        **_facts(scan),
        shape="x".join(map(str, shape)) if header else "",
        voxels=voxels,
        label=label["kind"] if label else "none",
        positive=positive,
        source="sha256:" + hashlib.sha256(json.dumps([scan.key, facts]).encode()).hexdigest()[:32],
    )


def _rest(files: list[dict[str, Any]], fates: dict[str, tuple[str, str]], result: Catalogue) -> None:
    """Account for every file: those of a series have their row; labels and strays are counted by what they are."""
    subjects = {row["case"]: row["subject"] for row in result.series}
    others: Counter[tuple[str, str, str]] = Counter()
    for file in files:
        header = file["header"]
        kind = header["kind"] if header else ("unreadable" if file["problem"] else "file")
        reason = "UNREADABLE" if file["problem"] else "NOT_AN_IMAGE" if header else "NOT_DICOM"
        case, fate = fates.get(file["path"], ("", reason))
        # A name in another code page cannot be written as it is.
        path = file["path"].encode(errors="backslashreplace").decode()
        result.files.append({"path": path, "kind": kind, "case": case, "fate": fate, "problem": file["problem"]})
        if not case or fate == "label":
            others[case, header["modality"] or kind if header else kind, fate] += 1
    for (case, kind, fate), n_files in sorted(others.items()):
        blank = dict.fromkeys(("manufacturer", "model", "kernel", "slice_thickness_mm"), "")
        row = {"case": case, "subject": subjects.get(case, ""), **blank, "modality": kind, "n_files": n_files}
        result.series.append(
            row | ({"status": "label", "reason": ""} if case else {"status": "not used", "reason": fate})
        )
