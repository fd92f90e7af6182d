"""The factor from stored PET units to the body-weight standardised uptake value.

SUV = activity concentration [Bq/ml] * body weight [g] / injected activity [Bq] at the time the image is corrected to
(DICOM PS3.3 C.8.9.1; the vendor-neutral recipe of the Quantitative Imaging Biomarkers Alliance). A wrong factor is
worse than none: whatever is missing or implausible is refused.
"""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NoReturn, TypeAlias

from cohortseg.errors import Rejected

Record: TypeAlias = Mapping[str, Any]

SMALLEST_DOSE_BQ = 1e5
"""Less was never injected: the dose stands in MBq, or was removed."""
SAME_DAY_HALF_LIFE_S = 12 * 3600
"""Shorter-lived tracers are imaged within a day: clock times decide, not dates, which de-identification shifts."""
LONGEST_DELAY_HALF_LIVES = 10
"""A longer delay leaves a thousandth of the activity: the clocks disagree."""
GRAMS_PER_KG = 1000.0


def suv_factor(record: Record) -> float:
    """What the rescaled values of a PET image are multiplied with to become SUV (body weight).

    Parameters
    ----------
    record : dict
        Record of `read_header` of a PET slice; of the slice that was acquired first, where slices differ in time.

    Returns
    -------
    float
        1.0 for Units GML (they are SUV already), Philips' own factor for CNTS, else weight over decayed dose.

    Raises
    ------
    Rejected
        NO_UNITS, naming what is missing or implausible.
    """
    units = record.get("units")
    if units == "GML":
        return _already_suv(record)
    if units == "CNTS":
        return _philips_factor(record)
    if units != "BQML":
        _refuse(f"units {units!r} (BQML, GML and Philips' CNTS are understood)")
    weight_kg, dose_bq = record.get("weight_kg"), record.get("dose_bq")
    if not weight_kg or weight_kg <= 0:
        _refuse("no patient weight")
    if not dose_bq or dose_bq <= 0:
        _refuse("no injected dose")
    if dose_bq < SMALLEST_DOSE_BQ:
        _refuse(f"an injected dose of {dose_bq:g} Bq")
    return float(weight_kg) * GRAMS_PER_KG / (float(dose_bq) * _decay(record))


def _refuse(found: str) -> NoReturn:
    raise Rejected("NO_UNITS", found)


def _already_suv(record: Record) -> float:
    kind = record.get("suv_type") or "BW"
    if kind != "BW":
        _refuse(f"SUV of type {kind!r}, normalised by something else than body weight")
    return 1.0


def _philips_factor(record: Record) -> float:
    factor = record.get("philips_suv_factor")
    if not str(record.get("philips_creator") or "").upper().startswith("PHILIPS PET") or not factor or factor <= 0:
        _refuse("counts without a factor to SUV")
    return float(factor)


def _decay(record: Record) -> float:
    """Share of the injected activity that is left at the time the image is decay-corrected to."""
    correction = record.get("decay_correction")
    if correction == "ADMIN":
        return 1.0
    if correction != "START":
        _refuse(f"decay correction {correction!r} (START and ADMIN are understood)")
    half_life_s = record.get("half_life_s")
    if not half_life_s or half_life_s <= 0:
        _refuse("no half-life of the tracer")
    delay_s = _delay_s(record, half_life_s)
    if delay_s > LONGEST_DELAY_HALF_LIVES * half_life_s:
        _refuse(f"the scan begins {delay_s / 60:.0f} minutes after the injection, the half-life is {half_life_s:.0f} s")
    return math.exp2(-delay_s / half_life_s)


def _delay_s(record: Record, half_life_s: float) -> float:
    """Seconds from injection to the start of the scan."""
    scan, dated = _scan_start(record)
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


def _scan_start(record: Record) -> tuple[datetime, bool]:
    """When the scan began, and whether its date is known.

    That is the time of the series; a series time after the first acquisition is that of a later reconstruction or
    transfer, and then the acquisition's stands for it.
    """
    date = str(record.get("series_date") or record.get("acquisition_date") or "")
    series = _moment(date, record.get("series_time"))
    acquisition = _moment(str(record.get("acquisition_date") or date), record.get("acquisition_time"))
    times = [time for time in (series, acquisition) if time is not None]
    if not times:
        _refuse("no time of the scan")
    return min(times), bool(date)


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
