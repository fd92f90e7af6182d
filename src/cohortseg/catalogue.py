"""From the headers of all files to cases with their channels and labels: what each file is, and what became of it.

Nothing here opens a file. Original ids, UIDs and paths stay in `Identities` and the sources: `private/` only.
"""

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import compress
from typing import Any, TypeAlias

from cohortseg.cohort import Case
from cohortseg.errors import Rejected, SettingsError
from cohortseg.label_links import (
    Label,
    by_key,
    find_owners,
    label_of,
    labels_of,
    masks_among,
    positive,
    source_of,
    structure_names,
)
from cohortseg.names import Identities, hash_of, name_cases, name_subjects
from cohortseg.scans import Fates, File, Scan, check_patients, check_wanted_file, patient_of, scans_of, volumes_of
from cohortseg.selection import check_count, check_series, chosen
from cohortseg.series_facts import FACTS, facts_of, first_days
from cohortseg.settings import CohortSettings, SeriesSettings

CASE_FACTS = ("modality", "manufacturer", "model", "kernel", "slice_thickness_mm")
"""What the table of cases repeats of the first channel's row."""
Offered: TypeAlias = dict[str, dict[tuple[str, str, str], list[Scan]]]
"""For each further channel the scans of each subject, or study."""


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


@dataclass
class Candidate:
    """A case to be: the scan of its first channel, those of the others (None where missing), or why it is none."""

    scan: Scan
    others: dict[str, Scan | None] = field(default_factory=dict)
    refusal: Rejected | None = None


def catalogue(
    found: Iterable[Any], settings: CohortSettings, identities: Identities, forgotten: frozenset[str] = frozenset()
) -> Catalogue:
    """Sort the found files into scans, labels and the rest, and link them.

    Parameters
    ----------
    found : iterable of FoundFile
        All files of the source folder, sorted by path.
    settings : CohortSettings
        Selection and labels.
    identities : Identities
        Names given so far; new ones are added in place.
    forgotten : frozenset of str
        Hashes of the original ids (`names.hash_of`) of those who were taken out of the study.
    """
    files = [vars(file) for file in found]
    fates: Fates = {}
    scans, masks = masks_among(scans_of(files, settings, fates), settings.labels, fates)
    labels = [*labels_of(files, settings, fates), *masks]
    find_owners(labels, sorted({scan.patient for scan in scans}))
    scans, labels = _without_forgotten(scans, labels, files, forgotten, fates)
    name_subjects([(scan.patient, scan.deidentified or settings.deidentified) for scan in scans], identities)
    candidates = _candidates(scans, settings, identities)
    days, keyed = first_days(scans), by_key(labels)
    result = Catalogue([], {}, [], [], [])
    counted: set[str] = set()
    for candidate in sorted(candidates, key=lambda one: identities.cases[one.scan.key]):
        scan = candidate.scan
        name, subject = identities.cases[scan.key], identities.subjects[scan.patient]
        used = [(channel, other) for channel, other in candidate.others.items() if other is not None]
        rows = [
            {
                "case": name,
                "subject": subject,
                "channel": channel,
                "part": one.part,
                **facts_of(one, days.get(one.patient)),
                "n_files": _count(one, counted),
                # For the preview alone: descriptions and names of structures may hold names of people, and no table of
                # the study has them.
                "description": one.first.get("series_description") or "",
            }
            for channel, one in [(_first_channel(settings), scan), *used]
        ]
        try:
            if candidate.refusal is not None:
                raise candidate.refusal
            own = label_of(scan, keyed, settings.labels)
        except Rejected as rejected:
            result.rejected.append(
                {"case": name, "subject": subject, "reason": rejected.reason, "found": rejected.found}
            )
            result.series.extend({**row, "status": "rejected", "reason": rejected.reason} for row in rows)
            _tell(fates, [scan, *(other for _, other in used)], name, rejected.reason)
            continue
        result.sources[name] = _source(candidate, own, settings)
        result.cases.append(_case(candidate, rows[0], own, settings))
        result.series.extend({**row, "status": "case", "reason": ""} for row in rows)
        _tell(fates, [scan, *(other for _, other in used)], name, "image")
        for label in own:
            fates |= {file["path"]: (name, "label") for file in label.files}
    for scan in scans:
        # What is left belongs to a volume of the series that was not taken.
        for file in scan.files:
            fates.setdefault(file["path"], ("", "NOT_CHOSEN"))
    _rest(files, fates, result)
    return result


def _without_forgotten(
    scans: list[Scan], labels: list[Label], files: list[File], forgotten: frozenset[str], fates: Fates
) -> tuple[list[Scan], list[Label]]:
    """Leave out whatever belongs to a person who is forgotten, also plans and second copies."""
    if not forgotten:
        return scans, labels
    kept_scans = [scan for scan in scans if hash_of(scan.patient) not in forgotten]
    kept_labels = [label for label in labels if hash_of(label.patient) not in forgotten]
    kept = {file["path"] for scan in kept_scans for file in scan.files}
    kept |= {file["path"] for label in kept_labels for file in label.files}
    paths = {file["path"] for scan in scans for file in scan.files}
    paths |= {file["path"] for label in labels for file in label.files}
    others = {file["path"] for file in files if file["header"] and hash_of(patient_of(file["header"])) in forgotten}
    fates |= dict.fromkeys((paths - kept) | others, ("", "FORGOTTEN"))
    return kept_scans, kept_labels


def _first_channel(settings: CohortSettings) -> str:
    return settings.channel_names[0] if settings.channels else ""


def _count(scan: Scan, counted: set[str]) -> int:
    """Files of a scan that no row has counted yet: several volumes may lie in one file."""
    new = {file["path"] for file in scan.files} - counted
    counted |= new
    return len(new)


def _tell(fates: Fates, scans: list[Scan], name: str, fate: str) -> None:
    for scan in scans:
        for file in scan.files:
            fates.setdefault(file["path"], (name, fate))


# ---- from scans to candidates ---------------------------------------------------------------------------------------


def _candidates(scans: list[Scan], settings: CohortSettings, identities: Identities) -> list[Candidate]:
    """Every scan once: as the first channel of a case, as another one, or refused."""
    selections = settings.channels or {settings.channel_names[0]: settings.series}
    wanted: dict[str, list[Scan]] = {channel: [] for channel in selections}
    refused: list[Candidate] = []
    for scan in scans:
        fits, refusal = _fits(scan, selections)
        for channel, volumes in fits.items():
            wanted[channel] += volumes
        if refusal is not None:
            refused.append(Candidate(scan, refusal=refusal))
    first, *others = selections
    _name([*wanted[first], *(one.scan for one in refused)], identities)
    strangers = sorted(set(settings.exclude) - set(identities.cases.values()))
    if strangers:
        raise SettingsError(f"cohort.exclude: no case is called {', '.join(map(repr, strangers))}")
    for scan in [scan for scan in wanted[first] if identities.cases[scan.key] in settings.exclude]:
        wanted[first].remove(scan)
        refused.append(Candidate(scan, refusal=Rejected("EXCLUDED", "named in cohort.exclude")))
    left_out: list[tuple[Scan, str]] = []
    for channel, selection in selections.items():
        kept, rest = _chosen(wanted[channel], selection)
        wanted[channel] = kept
        left_out += [(scan, f"{_key(channel, settings)}.choose is {selection.choose}") for scan in rest]
    offered: Offered = {channel: defaultdict(list) for channel in others}
    for channel in others:
        for scan in wanted[channel]:
            offered[channel][_together(scan, settings)].append(scan)
    cases = [_with_channels(scan, offered, settings) for scan in wanted[first]]
    used = {one.key for case in cases for one in [case.scan, *case.others.values()] if one is not None}
    idle = [(scan, f"no case takes it for channel {channel}") for channel in others for scan in wanted[channel]]
    unused = {scan.key: (scan, why) for scan, why in [*idle, *left_out] if scan.key not in used}
    _name([scan for scan, _ in unused.values()], identities)
    refused += [Candidate(scan, refusal=Rejected("NOT_CHOSEN", why)) for scan, why in unused.values()]
    return [*cases, *refused]


def _key(channel: str, settings: CohortSettings) -> str:
    return f"cohort.channels.{channel}" if settings.channels else "cohort.series"


def _name(scans: list[Scan], identities: Identities) -> None:
    name_cases([(scan.key, scan.patient, scan.modality) for scan in scans], identities)


def _fits(scan: Scan, selections: dict[str, SeriesSettings]) -> tuple[dict[str, list[Scan]], Rejected | None]:
    """The volumes of a scan for each channel that wants them; else the reason that says most."""
    fits: dict[str, list[Scan]] = {}
    refusals: list[Rejected] = []
    for channel, selection in selections.items():
        try:
            fits[channel] = _wanted(scan, channel, selection, only=len(selections) == 1)
        except Rejected as rejected:
            refusals.append(rejected)
    if fits:
        return fits, None
    return {}, next((one for one in refusals if one.reason != "NOT_SELECTED"), refusals[0])


def _wanted(scan: Scan, channel: str, selection: SeriesSettings, *, only: bool) -> list[Scan]:
    if not scan.first:
        check_wanted_file(scan, channel, selection, only=only)
        return [scan]
    check_patients(scan)
    check_series(scan.files, scan.modality, selection)
    volumes = volumes_of(scan, selection.phases)
    if scan.kind == "dicom":
        for volume in volumes:
            check_count(volume.n_slices, selection)
    return volumes


def _chosen(scans: list[Scan], selection: SeriesSettings) -> tuple[list[Scan], list[Scan]]:
    """The scans to take, and those that the settings leave out for another one of the same study or subject."""
    if selection.choose == "all":
        return scans, []
    groups: dict[str, dict[str, list[dict[str, Any]]]] = defaultdict(dict)
    for scan in scans:
        study = "" if selection.choose_per == "subject" else str(scan.first.get("study_uid"))
        if scan.first:
            groups[f"{scan.patient} {study}"].setdefault(_series_of(scan), []).extend(scan.files)
    taken = {chosen(group, selection.choose) for group in groups.values()}
    is_kept = [not scan.first or _series_of(scan) in taken for scan in scans]
    return list(compress(scans, is_kept)), [scan for scan, kept in zip(scans, is_kept, strict=True) if not kept]


def _series_of(scan: Scan) -> str:
    """Volumes of one series are taken or left together; a picture stands for itself."""
    return scan.key if scan.kind == "plane" else str(scan.first.get("series_uid"))


# ---- channels -------------------------------------------------------------------------------------------------------


def _with_channels(scan: Scan, offered: Offered, settings: CohortSettings) -> Candidate:
    """A case with its further channels; refused where the settings do not say which, or want none to be missing."""
    case = Candidate(scan)
    for channel, scans in offered.items():
        near = _nearest(scan, scans.get(_together(scan, settings), []))
        if len(near) > 1:
            found = f"{len(near)} series for channel {channel}"
            case.refusal = case.refusal or Rejected("SEVERAL_SERIES", found)
        elif not near and settings.missing_channel == "reject":
            case.refusal = case.refusal or Rejected("MISSING_CHANNEL", f"no series for channel {channel}")
        case.others[channel] = near[0] if len(near) == 1 else None
    return case


def _together(scan: Scan, settings: CohortSettings) -> tuple[str, str, str]:
    """What the channels of one case have in common."""
    study = "" if settings.channels_per == "subject" else str(scan.first.get("study_uid"))
    return (scan.patient, scan.name, study)


def _nearest(scan: Scan, scans: list[Scan]) -> list[Scan]:
    """Of several scans those of the same study, then those in the same frame of reference, where there are any."""
    for key in ("study_uid", "frame_uid"):
        same = [one for one in scans if one.first.get(key) and one.first.get(key) == scan.first.get(key)]
        scans = same or scans
    return scans


# ---- what is written ------------------------------------------------------------------------------------------------


def _source(case: Candidate, labels: list[Label], settings: CohortSettings) -> dict[str, Any]:
    selections = list(settings.channels.values()) or [settings.series]
    scans = [case.scan, *case.others.values()]
    channels = [
        None
        if scan is None
        else {
            "kind": scan.kind,
            "key": scan.key,
            "modality": scan.modality,
            "part": scan.part,
            # Of a file with several volumes the reader chooses: nobody opened it yet.
            "phases": selection.phases if scan.kind == "file" else None,
            "files": scan.files,
        }
        for scan, selection in zip(scans, selections, strict=True)
    ]
    return {"channels": channels, "label": source_of(labels)}


def _case(case: Candidate, row: dict[str, Any], labels: list[Label], settings: CohortSettings) -> Case:
    scan = case.scan
    scans = [scan, *(other for other in case.others.values() if other is not None)]
    header = scan.first
    shape = (scan.n_slices, header.get("rows") or 0, header.get("columns") or 0)
    facts = [
        [one.key, [[file["path"], file["size"], file["mtime_ns"], file.get("frames")] for file in one.files]]
        for one in scans
    ]
    facts += [[label.kind, [[f["path"], f["size"], f["mtime_ns"]] for f in label.files]] for label in labels]
    return Case(
        **{key: row[key] for key in ("case", "subject", *CASE_FACTS)},
        shape="x".join(map(str, shape)) if header else "",
        voxels=sum(_voxels(one) for one in scans),
        label=labels[0].kind if labels else "none",
        positive=positive(labels, settings.labels),
        source="sha256:" + hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32],
    )


def _voxels(scan: Scan) -> int:
    """Voxels of a scan as the headers say; for a file, which is compressed, as many as its bytes and once more."""
    header = scan.first
    if not header:
        return int(scan.files[0]["size"]) * 2
    return scan.n_slices * (header.get("rows") or 0) * (header.get("columns") or 0)


def _rest(files: list[dict[str, Any]], fates: Fates, result: Catalogue) -> None:
    """Account for every file: those of a series have their row; labels and strays are counted by what they are."""
    subjects = {row["case"]: row["subject"] for row in result.series}
    others: Counter[tuple[str, str, str]] = Counter()
    structures: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for file in files:
        header = file["header"]
        kind = header["kind"] if header else ("unreadable" if file["problem"] else "file")
        reason = "UNREADABLE" if file["problem"] else "NOT_AN_IMAGE" if header else "NOT_DICOM"
        case, fate = fates.get(file["path"], ("", reason))
        # A name in another code page cannot be written as it is.
        path = file["path"].encode(errors="backslashreplace").decode()
        if fate == "FORGOTTEN":
            # Counted, and no more: a path may be a name.
            others["", "any", fate] += 1
            continue
        result.files.append({"path": path, "kind": kind, "case": case, "fate": fate, "problem": file["problem"]})
        if not case or fate == "label":
            what = case, header["modality"] or kind if header else kind, fate
            others[what] += 1
            structures[what] |= structure_names(header) if header else set()
    blank = dict.fromkeys(("channel", "part", "description", *FACTS), "")
    for (case, kind, fate), n_files in sorted(others.items()):
        row = {"case": case, "subject": subjects.get(case, ""), **blank, "modality": kind, "n_files": n_files}
        # For the preview too.
        row["structures"] = sorted(structures[case, kind, fate])
        row["description"] = ", ".join(row["structures"])
        result.series.append(
            row | ({"status": "label", "reason": ""} if case else {"status": "not used", "reason": fate})
        )
