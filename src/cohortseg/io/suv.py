"""The factor from stored PET units to the standardised uptake value, by body weight, lean body mass or body surface.

SUV = activity concentration [Bq/ml] * body size [g or cm2] / injected activity [Bq] at the time the image is corrected
to (DICOM PS3.3 C.8.9.1; the vendor-neutral recipe of the Quantitative Imaging Biomarkers Alliance, FDG-PET/CT profile,
appendix G). A wrong factor is worse than none: whatever is missing or implausible is refused.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NoReturn, TypeAlias

from cohortseg.errors import Rejected

Record: TypeAlias = Mapping[str, Any]
Kind: TypeAlias = Literal["bw", "lbm", "bsa"]

STORED_KINDS: dict[tuple[str, str], Kind] = {
    ("GML", "BW"): "bw",
    ("GML", "LBMJANMA"): "lbm",
    ("CM2ML", "BSA"): "bsa",
}
"""What values that are SUV already were divided by, for (units, SUV type). LBM may be any of several formulas."""
USUAL_TYPES = {"GML": "BW", "CM2ML": "BSA"}
"""SUV type of files that name none (DICOM PS3.3 C.8.9.1)."""
NEEDED_CORRECTIONS = {"ATTN": "attenuation", "DECY": "decay"}
"""Values of CorrectedImage (DICOM PS3.3 C.8.9.1) without which the voxels are no activity at one time."""
SMALLEST_DOSE_BQ = 1e5
"""Less was never injected: the dose stands in MBq, or was removed."""
LARGEST_WEIGHT_KG = 650.0
"""Nobody was heavier: the weight stands in grams."""
HEIGHT_M = (0.2, 2.8)
"""Shortest and tallest: a height of 170 stands in centimetres."""
SAME_DAY_HALF_LIFE_S = 12 * 3600
"""Shorter-lived tracers are imaged within a day: clock times decide, not dates, which de-identification shifts."""
LONGEST_DELAY_HALF_LIVES = 10
"""A longer delay leaves a thousandth of the activity: the clocks disagree."""
GRAMS_PER_KG = 1000.0
CM2_PER_M2 = 1e4


def suv_factor(record: Record, *, kind: Kind = "bw") -> float:
    """What the rescaled values of a PET image are multiplied with to become SUV.

    Parameters
    ----------
    record : dict
        Record of a PET slice; of the slice that was acquired first, where slices differ in time.
    kind : {'bw', 'lbm', 'bsa'}
        Body weight (g/ml); lean body mass (g/ml; Janmahasatian et al. 2005, Clin Pharmacokinet 44:1051-1065);
        body surface (cm2/ml; Du Bois and Du Bois 1916, Arch Intern Med 17:863-871).

    Returns
    -------
    float
        For Units BQML body size over decayed dose; for GML and CM2ML (they are SUV already) the ratio of the body
        sizes, 1.0 where the kind is the same; for CNTS Philips' own factors.

    Raises
    ------
    Rejected
        NO_UNITS, naming what is missing or implausible.
    """
    units = record.get("units")
    if units in USUAL_TYPES:
        return _of_suv(record, kind)
    if units == "CNTS":
        return _of_counts(record, kind)
    if units != "BQML":
        _refuse(f"units {units!r} (BQML, GML, CM2ML and Philips' CNTS are understood)")
    return _of_activity(record, kind)


def lean_body_mass_kg(weight_kg: float, height_m: float, sex: str) -> float:
    """Lean body mass by Janmahasatian et al. 2005 (equations 7 and 8); sex 'M' or 'F'."""
    slope, offset = {"M": (216.0, 6680.0), "F": (244.0, 8780.0)}[sex]
    return 9270.0 * weight_kg / (offset + slope * weight_kg / height_m**2)


def body_surface_m2(weight_kg: float, height_m: float) -> float:
    """Body surface by Du Bois and Du Bois 1916."""
    return float(0.007184 * weight_kg**0.425 * (100.0 * height_m) ** 0.725)


def _refuse(found: str) -> NoReturn:
    raise Rejected("NO_UNITS", found)


def _of_activity(record: Record, kind: Kind) -> float:
    """Factor of an activity concentration in Bq/ml."""
    # The recipe writes DECAY, the standard DECY.
    corrections = [
        term.strip()[:4].replace("DECA", "DECY") for term in str(record.get("corrected_image") or "").split("\\")
    ]
    lacking = [word for term, word in NEEDED_CORRECTIONS.items() if term not in corrections and any(corrections)]
    if lacking:
        _refuse(f"an image that is not corrected for {' and '.join(lacking)}")
    size = _body(record, kind)
    dose_bq = record.get("dose_bq")
    if not dose_bq or dose_bq <= 0:
        _refuse("no injected dose")
    if dose_bq < SMALLEST_DOSE_BQ:
        _refuse(f"an injected dose of {dose_bq:g} Bq")
    return size / (float(dose_bq) * _decay(record))


def _of_suv(record: Record, kind: Kind) -> float:
    units = str(record["units"])
    named = record.get("suv_type") or USUAL_TYPES[units]
    stored = STORED_KINDS.get((units, named))
    if stored is None:
        _refuse(f"SUV of type {named!r} in {units}")
    return 1.0 if stored == kind else _body(record, kind) / _body(record, stored)


def _of_counts(record: Record, kind: Kind) -> float:
    """Philips scales counts to SUV by body weight (7053,1000), or else to Bq/ml (7053,1009)."""
    if str(record.get("philips_creator") or "").upper().startswith("PHILIPS PET"):
        factor = record.get("philips_suv_factor") or 0.0
        if factor > 0:
            return float(factor) * (1.0 if kind == "bw" else _body(record, kind) / _body(record, "bw"))
        factor = record.get("philips_activity_factor") or 0.0
        if factor > 0:
            return float(factor) * _of_activity(record, kind)
    _refuse("counts without a factor to SUV")


def _body(record: Record, kind: Kind) -> float:
    """What uptake is divided by: g, or cm2 for the body surface."""
    weight_kg = record.get("weight_kg")
    if not weight_kg or weight_kg <= 0:
        _refuse("no patient weight")
    if weight_kg > LARGEST_WEIGHT_KG:
        _refuse(f"a patient weight of {weight_kg:g} kg")
    if kind == "bw":
        return float(weight_kg) * GRAMS_PER_KG
    height_m = record.get("height_m")
    if not height_m or height_m <= 0:
        _refuse(f"no patient height, which SUV of kind {kind!r} needs")
    if not HEIGHT_M[0] <= height_m <= HEIGHT_M[1]:
        _refuse(f"a patient height of {height_m:g} m")
    if kind == "bsa":
        return body_surface_m2(weight_kg, height_m) * CM2_PER_M2
    sex = record.get("sex")
    if sex not in ("M", "F"):
        _refuse("no patient sex M or F, which the formula of the lean body mass needs")
    return lean_body_mass_kg(weight_kg, height_m, sex) * GRAMS_PER_KG


def _decay(record: Record) -> float:
    """Share of the injected activity that is left at the time the image is decay-corrected to."""
    correction = record.get("decay_correction")
    if correction == "ADMIN":
        return 1.0
    # Enhanced images say YES, and to what time.
    enhanced = record.get("decay_corrected") == "YES" and record.get("decay_datetime")
    if correction != "START" and not (correction is None and enhanced):
        _refuse(f"decay correction {correction!r} (START and ADMIN are understood)")
    half_life_s = record.get("half_life_s")
    if not half_life_s or half_life_s <= 0:
        _refuse("no half-life of the tracer")
    delay_s = _delay_s(record, half_life_s)
    if delay_s > LONGEST_DELAY_HALF_LIVES * half_life_s:
        _refuse(f"the scan begins {delay_s / 60:.0f} minutes after the injection, the half-life is {half_life_s:.0f} s")
    return math.exp2(-delay_s / half_life_s)


def _delay_s(record: Record, half_life_s: float) -> float:
    """Seconds from injection to the time the image is corrected to."""
    scan, dated = _scan_start(record, half_life_s)
    injected_at = str(record.get("injection_datetime") or "")
    if half_life_s <= SAME_DAY_HALF_LIFE_S:
        clock = _moment("", record.get("injection_time") or injected_at[8:])
        if clock is None:
            _refuse("no time of injection")
        # An injection later in the day than the scan was the evening before.
        return (scan - clock) % timedelta(days=1) / timedelta(seconds=1)
    injection = _moment(injected_at[:8], injected_at[8:])
    if injection is None or not injected_at or not dated:
        _refuse("no date and time of injection for a long-lived tracer")
    delay_s = (scan - injection) / timedelta(seconds=1)
    if delay_s < 0:
        _refuse("the injection is later than the scan")
    return delay_s


def _scan_start(record: Record, half_life_s: float) -> tuple[datetime, bool]:
    """The time that START corrects to, and whether its date is known.

    An enhanced image names it. Else it is the time of the series; but a series time after the first acquisition is
    that of a later reconstruction or transfer. Then GE's private scan time stands for it, or what the frame reference
    time tells, or the first acquisition.
    """
    named = str(record.get("decay_datetime") or "")
    if named:
        corrected_to = _moment(named[:8], named[8:])
        return corrected_to or _refuse("no time that the image is corrected to"), True
    date = str(record.get("series_date") or record.get("acquisition_date") or "")
    series = _moment(date, record.get("series_time"))
    acquisition = _moment(str(record.get("acquisition_date") or date), record.get("acquisition_time"))
    if acquisition is None:
        if series is None:
            _refuse("no time of the scan")
        return series, bool(date)
    if series is not None and series <= acquisition:
        return series, bool(date)
    return _ge_scan_start(record, acquisition) or _back_from_frame(record, acquisition, half_life_s), bool(date)


def _ge_scan_start(record: Record, acquisition: datetime) -> datetime | None:
    """GE's private scan time (0009,100D), where it is one before the acquisition."""
    named = str(record.get("ge_scan_datetime") or "")
    if not named or not str(record.get("ge_creator") or "").upper().startswith("GEMS_PETD_01"):
        return None
    scan = _moment(named[:8], named[8:])
    return scan if scan is not None and scan <= acquisition else None


def _back_from_frame(record: Record, acquisition: datetime, half_life_s: float) -> datetime:
    """The start of the scan from the time within a frame at which its mean count rate fell.

    FrameReferenceTime is that time, counted from the start of the scan; AcquisitionTime begins the frame.
    """
    reference_ms, duration_ms = record.get("frame_reference_ms") or 0.0, record.get("frame_duration_ms") or 0.0
    if reference_ms <= 0 or duration_ms <= 0:
        return acquisition
    decay = math.log(2.0) * duration_ms / 1000.0 / half_life_s
    mean_s = math.log(decay / -math.expm1(-decay)) * half_life_s / math.log(2.0)
    return acquisition + timedelta(seconds=mean_s - reference_ms / 1000.0)


def _moment(date: str, time: str | None) -> datetime | None:
    """A date (YYYYMMDD, or empty) and a time (HHMMSS.FFFFFF, possibly shortened) as DICOM writes them."""
    digits = (time or "").split("+")[0].split("-")[0].replace(":", "")
    clock, _, fraction = digits.partition(".")
    if not clock.isdigit() or len(clock) not in (2, 4, 6) or (date and not (date.isdigit() and len(date) == 8)):
        return None
    hours, minutes, seconds = (int(clock[start : start + 2] or 0) for start in (0, 2, 4))
    try:
        day = datetime.strptime(date or "19000102", "%Y%m%d")
    except ValueError:
        return None
    part = float(f"0.{fraction}") if fraction.isdigit() else 0.0
    moment_s = hours * 3600 + minutes * 60 + seconds + part
    return day + timedelta(seconds=moment_s) if math.isfinite(moment_s) and hours < 24 else None
