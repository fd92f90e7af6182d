"""From the files of a folder to scans: a DICOM series, a volume of it, a single picture, or an image file.

Nothing here opens a file.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal, TypeAlias

from cohortseg.endings import PICTURES
from cohortseg.errors import Rejected, SettingsError
from cohortseg.names import NO_ID
from cohortseg.selection import count_slices
from cohortseg.settings import CohortSettings, SeriesSettings
from cohortseg.slices import SAME_PLACE_MM, is_plane_image, places_mm, slices_of

File: TypeAlias = dict[str, Any]
Fates: TypeAlias = dict[str, tuple[str, str]]


@dataclass(frozen=True)
class Scan:
    """One image.

    Parameters
    ----------
    kind : {'dicom', 'plane', 'file', 'picture'}
        A stack of slices; a single DICOM picture, or several of one series before they are told apart; a volume file;
        a picture file.
    key : str
        SeriesInstanceUID with the name of the part, SOPInstanceUID with the number of the frame, or the file's path.
    patient : str
        Original id of the subject.
    files : list of dict
        `path, size, mtime_ns, header` of each file; `frames` where not all frames of a file are meant.
    part : str
        Which of several volumes (`parts.Part.name`).
    name, channel : str
        What the groups `scan` and `channel` of `cohort.images` found; empty for DICOM.
    """

    kind: Literal["dicom", "plane", "file", "picture"]
    key: str
    patient: str
    modality: str
    files: list[File]
    deidentified: bool = False
    part: str = ""
    name: str = ""
    channel: str = ""

    @property
    def first(self) -> dict[str, Any]:
        """Header of the first file; empty for an image file."""
        header: dict[str, Any] = self.files[0]["header"] or {}
        return header

    @cached_property
    def n_slices(self) -> int:
        """Slices; 1 for an image file, which does not say."""
        if not self.first:
            return 1
        return sum(len(file["frames"]) if "frames" in file else count_slices([file]) for file in self.files)


def scans_of(files: list[File], settings: CohortSettings, fates: Fates) -> list[Scan]:
    """All scans, each series as one; the second copy of an object gets its fate."""
    return list(_image_files(files, settings)) if settings.images is not None else list(_series(files, fates))


def _image_files(files: list[File], settings: CohortSettings) -> Iterator[Scan]:
    for file in files:
        match = groups_of(settings.images or "", file["path"], "cohort.images")
        if match is not None and file["header"] is None:
            kind: Literal["file", "picture"] = "picture" if file["path"].lower().endswith(PICTURES) else "file"
            name, channel = match.get("scan") or "", match.get("channel") or ""
            yield Scan(kind, file["path"], match["subject"], settings.modality, [file], name=name, channel=channel)


def groups_of(pattern: str, path: str, key: str) -> dict[str, str] | None:
    """The named groups of a pattern in a path; None where it does not match, or finds no subject.

    Raises
    ------
    SettingsError
        When the pattern has no group `subject`.
    """
    match = re.search(pattern, path)
    if match is None:
        return None
    if "subject" not in match.groupdict():
        raise SettingsError(f"{key}: the pattern needs a group `(?P<subject>…)` (got {pattern!r})")
    return match.groupdict() if match["subject"] else None


def _series(files: list[File], fates: Fates) -> Iterator[Scan]:
    series: dict[tuple[str, bool], list[File]] = defaultdict(list)
    seen: set[str] = set()
    for file in files:
        header = file["header"]
        if header is None or header["kind"] != "image" or not header.get("series_uid"):
            continue
        if header["sop_uid"] in seen:
            fates[file["path"]] = ("", "DUPLICATE_OBJECT")
            continue
        seen.add(header["sop_uid"])
        series[header["series_uid"], is_plane_image(header)].append(file)
    for (uid, is_plane), members in series.items():
        first = members[0]["header"]
        yield Scan(
            "plane" if is_plane else "dicom",
            f"{uid} pictures" if is_plane and (uid, False) in series else uid,
            patient_of(first),
            first["modality"] or "OT",
            members,
            all(member["header"]["identity_removed"] for member in members),
        )


def patient_of(header: dict[str, Any]) -> str:
    """Original id of the subject; the study stands for it where there is none."""
    return header["patient_id"] or f"{NO_ID}{header.get('study_uid')}"


# ---- one series, several volumes ------------------------------------------------------------------------------------


def volumes_of(scan: Scan, phases: str | int) -> list[Scan]:
    """The volumes of a series that are wanted; the scan itself where it is one.

    Parameters
    ----------
    scan : Scan
        As `scans_of` makes it.
    phases : 'reject', 'first', 'last', 'all' or int
        `SeriesSettings.phases`. Of an image file with several volumes the reader chooses.

    Raises
    ------
    Rejected
        SEVERAL_PHASES, when the settings choose none or one that is not there; NO_FRAMES.
    """
    if scan.kind in ("file", "picture"):
        return [scan]
    if scan.kind == "plane":
        return [picture for file in scan.files for picture in _pictures(scan, file, phases)]
    slices = [
        (number, one.get("frame"), one) for number, file in enumerate(scan.files) for one in slices_of(file["header"])
    ]
    if not _may_repeat([one for _, _, one in slices]):
        return [scan]
    from cohortseg.parts import parts_of

    parts = parts_of([one for _, _, one in slices])
    if len(parts) == 1:
        return [scan]
    by = f"{len(parts)} volumes, told apart by {parts[0].by}"
    return [
        replace(scan, key=f"{scan.key} {part.name}", part=part.name, files=_files(scan, slices, part.members))
        for part in _chosen(parts, phases, by)
    ]


def _may_repeat(slices: list[dict[str, Any]]) -> bool:
    """Whether two slices lie so near that a series may hold several volumes; most do not, and are spared the search."""
    places = places_mm(slices, slices[0].get("orientation"))
    return any(following - place <= SAME_PLACE_MM for place, following in pairwise(places))


def _pictures(scan: Scan, file: File, phases: str | int) -> Iterator[Scan]:
    """Each picture of a file; its key is that of the object, so that a new file in the series changes no name."""
    header = file["header"]
    uid, n_frames = header["sop_uid"], header.get("n_frames") or 1
    if n_frames == 1:
        yield replace(scan, key=uid, files=[file])
        return
    if len(header.get("frames") or ()) != n_frames:
        raise Rejected("NO_FRAMES", f"{n_frames} frames, of which nothing is said")
    for number in _chosen(list(range(n_frames)), phases, f"{n_frames} frames"):
        name = f"frame{number + 1}"
        yield replace(scan, key=f"{uid} {name}", part=name, files=[{**file, "frames": [number]}])


def _chosen(parts: list[Any], phases: str | int, found: str) -> list[Any]:
    if phases == "reject":
        raise Rejected("SEVERAL_PHASES", found)
    if isinstance(phases, int):
        if phases > len(parts):
            raise Rejected("SEVERAL_PHASES", f"{found}; the settings ask for number {phases}")
        return [parts[phases - 1]]
    return {"first": parts[:1], "last": parts[-1:], "all": parts}[phases]


def _files(scan: Scan, slices: list[tuple[int, int | None, Any]], members: tuple[int, ...]) -> list[File]:
    frames: dict[int, list[int | None]] = defaultdict(list)
    for place in members:
        number, frame, _ = slices[place]
        frames[number].append(frame)
    return [
        scan.files[number] if None in used else {**scan.files[number], "frames": sorted(filter(_is_number, used))}
        for number, used in sorted(frames.items())
    ]


def _is_number(frame: int | None) -> bool:
    return frame is not None


def check_patients(scan: Scan) -> None:
    """Refuse a series of several people.

    Raises
    ------
    Rejected
        MIXED_PATIENTS.
    """
    patients = {file["header"]["patient_id"] for file in scan.files if file["header"]}
    if len(patients) > 1:
        raise Rejected("MIXED_PATIENTS", f"{len(patients)} patient ids in {len(scan.files)} files")


def check_wanted_file(scan: Scan, channel: str, wanted: SeriesSettings, *, only: bool) -> None:
    """Refuse an image file of another channel: its name, or the description that the settings give, is not found.

    Raises
    ------
    Rejected
        NOT_SELECTED.
    """
    if only:
        return
    pattern = wanted.description or re.escape(channel)
    if not (re.search(pattern, scan.channel) if wanted.description else re.fullmatch(pattern, scan.channel, re.I)):
        raise Rejected("NOT_SELECTED", f"another channel than {channel}")
