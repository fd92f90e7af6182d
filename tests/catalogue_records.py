"""Header records made by hand, and what the catalogue must hold for any of them."""

from cohortseg.catalogue import catalogue
from cohortseg.errors import REASONS
from cohortseg.io.discover import FoundFile
from cohortseg.names import Identities
from cohortseg.settings import CohortSettings

IMAGES = r"^images/(?P<subject>[^/]+)\.nii(\.gz)?$"
LABELS = r"^labels/(?P<subject>[^/]+)\.nii(\.gz)?$"
STRUCTURES = {"tumour": "GTV.*"}


def wanted(images=None, exclude=(), deidentified=False, series=None, **labels) -> CohortSettings:
    return CohortSettings.model_validate(
        {
            "source": "data",
            "images": images,
            "series": series or {},
            "labels": {"structures": STRUCTURES} | labels,
            "exclude": list(exclude),
            "deidentified": deidentified,
        }
    )


def header(kind: str, patient: str | None, series: str, sop: str, **more) -> dict:
    base = {"kind": kind, "patient_id": patient, "series_uid": series, "sop_uid": sop, "study_uid": "1.1"}
    return base | {"frame_uid": f"frame of {patient}", "identity_removed": True, "modality": "CT"} | more


def file(path: str, record: dict | None = None, *, size=1000, problem="") -> FoundFile:
    return FoundFile(path, size, 1_700_000_000_000_000_000, record, problem)


def series(patient: str | None = "P1", uid: str | None = None, *, n=6, folder=None, **more) -> list[FoundFile]:
    """The files of one series."""
    uid = uid or f"2.{patient}"
    facts = {"rows": 40, "columns": 30, "n_frames": 1, "series_description": "thorax", **more}
    return [
        file(f"{folder or patient or uid}/{uid}/{n - i:03d}.dcm", header("image", patient, uid, f"{uid}.{i}", **facts))
        for i in range(n)
    ]


def rtstruct(refers="2.P1", patient: str | None = "P1", *, sop="9.1", names=(("GTV-1", 3),), path=None, **more):
    rois = [{"name": name, "n_contours": n, "n_points": 4 * n} for name, n in names]
    facts = {"rois": rois, "referenced_series_uids": [refers] if refers else [], "referenced_frame_uids": []}
    record = header("rtstruct", patient, f"series of {sop}", sop, **{"modality": "RTSTRUCT", **facts, **more})
    return file(path or f"labels/{sop}.dcm", record)


def seg(refers="2.P1", patient="P1", *, sop="8.1", labels=("GTV-1",), n_frames=4, **more):
    segments = [{"number": number, "label": label} for number, label in enumerate(labels, start=1)]
    facts = {"segments": segments, "referenced_series_uids": [refers] if refers else [], "n_frames": n_frames}
    return file(
        f"labels/{sop}.dcm", header("seg", patient, f"series of {sop}", sop, **{"modality": "SEG", **facts, **more})
    )


def found(files, identities=None, /, **options):
    files = sorted(files, key=lambda one: one.path)
    result = catalogue(files, wanted(**options), Identities() if identities is None else identities)
    check_accounts(files, result)
    return result


def check_accounts(files, result) -> None:
    """Every file once in the private table; in the table of series as often as there are files."""
    assert [row["path"] for row in result.files] == [
        one.path.encode(errors="backslashreplace").decode() for one in files
    ]
    assert all(row["fate"] for row in result.files)
    assert sum(row["n_files"] for row in result.series) == len(files)
    assert {row["reason"] for row in result.rejected} <= set(REASONS)
    named = {case.case for case in result.cases} | {row["case"] for row in result.rejected}
    assert {row["case"] for row in result.series} - {""} == named
    assert {row["case"] for row in result.files} <= named | {""}


def only(result):
    (case,) = result.cases
    return case


def reason(result) -> str:
    (row,) = result.rejected
    return row["reason"]


def fates(result) -> dict[str, str]:
    return {row["path"]: row["fate"] for row in result.files}
