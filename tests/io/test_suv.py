"""SUV factors by hand."""

import pytest

from cohortseg.errors import Rejected
from cohortseg.io.suv import suv_factor

FDG = {
    "units": "BQML",
    "decay_correction": "START",
    "weight_kg": 70.0,
    "dose_bq": 350e6,
    "half_life_s": 6600.0,
    "injection_time": "090000.00",
    "series_date": "20200301",
    "series_time": "105000",
    "acquisition_date": "20200301",
    "acquisition_time": "105000.5",
}


def found(**changes):
    with pytest.raises(Rejected) as caught:
        suv_factor(FDG | changes)
    assert caught.value.reason == "NO_UNITS"
    return caught.value.found


def test_one_half_life_after_the_injection_the_factor_doubles():
    # 70,000 g over 350 MBq is 2e-4 g/Bq; 110 minutes are one half-life.
    assert suv_factor(FDG | {"series_time": "090000"}) == pytest.approx(2e-4)
    assert suv_factor(FDG) == pytest.approx(4e-4)


def test_decay_corrected_to_the_injection_no_time_is_needed():
    bare = {"units": "BQML", "decay_correction": "ADMIN", "weight_kg": 80.0, "dose_bq": 400e6}
    assert suv_factor(bare) == pytest.approx(2e-4)


def test_values_that_are_suv_already_stay():
    assert suv_factor({"units": "GML"}) == 1.0
    assert suv_factor({"units": "GML", "suv_type": "BW"}) == 1.0


def test_a_scan_after_midnight_follows_an_injection_before_it():
    late = {"injection_time": "233000", "series_time": "012000", "acquisition_time": "012000"}
    assert suv_factor(FDG | late) == pytest.approx(4e-4)


def test_a_series_time_of_a_later_reconstruction_is_not_the_scan():
    assert suv_factor(FDG | {"series_time": "170000", "acquisition_time": "105000"}) == pytest.approx(4e-4)


def test_dates_shifted_by_deidentification_do_not_matter_for_a_short_lived_tracer():
    shifted = {"injection_time": None, "injection_datetime": "19991231090000.000000+0100"}
    assert suv_factor(FDG | shifted) == pytest.approx(4e-4)


def test_a_long_lived_tracer_goes_by_dates():
    zirconium = {"half_life_s": 78.4 * 3600, "injection_datetime": "20200227033000", "series_time": "095400"}
    # Three days and 6.4 hours later (2020 has a 29 February): one half-life.
    assert suv_factor(FDG | zirconium | {"acquisition_time": None}) == pytest.approx(4e-4, rel=1e-3)
    assert "long-lived" in found(**zirconium | {"injection_datetime": None})
    assert "later" in found(**zirconium | {"injection_datetime": "20200401100000"})


def test_counts_need_the_vendors_factor():
    philips = {"units": "CNTS", "philips_creator": "Philips PET Private Group", "philips_suv_factor": 0.000551}
    assert suv_factor(philips) == 0.000551
    assert "counts" in found(units="CNTS")
    assert "counts" in found(**philips | {"philips_creator": "OTHER"})


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"units": None}, "units"),
        ({"units": "PROPCPS"}, "units"),
        ({"units": "GML", "suv_type": "LBM"}, "LBM"),
        ({"weight_kg": None}, "weight"),
        ({"weight_kg": 0.0}, "weight"),
        ({"dose_bq": None}, "dose"),
        ({"dose_bq": 350.0}, "350 Bq"),
        ({"half_life_s": None}, "half-life"),
        ({"decay_correction": "NONE"}, "NONE"),
        ({"decay_correction": None}, "None"),
        ({"injection_time": None}, "time of injection"),
        ({"injection_time": "9 am"}, "time of injection"),
        ({"series_time": None, "acquisition_time": None}, "time of the scan"),
        ({"injection_time": "105500"}, "minutes after the injection"),
    ],
)
def test_whatever_is_missing_or_implausible_is_named(changes, word):
    assert word in found(**changes)
