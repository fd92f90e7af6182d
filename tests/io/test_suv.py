"""SUV factors by hand."""

import math

import numpy as np
import pytest

from cohortseg.errors import Rejected
from cohortseg.io.suv import body_surface_m2, lean_body_mass_kg, suv_factor

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
        ({"units": "CM2ML", "suv_type": "BW"}, "CM2ML"),
        ({"weight_kg": None}, "weight"),
        ({"weight_kg": 0.0}, "weight"),
        ({"weight_kg": 70000.0}, "70000 kg"),
        ({"corrected_image": "NORM\\DECY\\SCAT"}, "attenuation"),
        ({"corrected_image": "ATTN"}, "decay"),
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


PATIENT = {"height_m": 1.75, "sex": "M"}


def test_the_formulas_of_body_size_by_hand():
    # 70 kg and 1.75 m are a body mass index of 22.857: 648,900 / (6680 + 4937.1) and 648,900 / (8780 + 5577.1).
    assert lean_body_mass_kg(70.0, 1.75, "M") == pytest.approx(55.857, abs=1e-3)
    assert lean_body_mass_kg(70.0, 1.75, "F") == pytest.approx(45.197, abs=1e-3)
    # The nomogram of Du Bois shows 1.85 m2.
    assert body_surface_m2(70.0, 1.75) == pytest.approx(1.848, abs=1e-3)


@pytest.mark.parametrize(("kind", "size"), [("bw", 70_000.0), ("lbm", 55_857.1), ("bsa", 18_481.3)])
def test_an_even_spread_of_the_tracer_is_an_uptake_of_one(kind, size):
    # Raw counts as a scanner stores them: what is left of the dose after one half-life, spread over the body.
    slope = 3.7
    counts = np.full((2, 3), 350e6 / 2 / size / slope)
    factor = suv_factor(FDG | PATIENT, kind=kind)
    np.testing.assert_allclose(counts * slope * factor, 1.0, rtol=1e-4)


def test_values_that_are_suv_already_are_turned_into_the_wanted_kind():
    known = {"units": "GML", "weight_kg": 70.0} | PATIENT
    assert suv_factor(known, kind="lbm") == pytest.approx(55.857 / 70, rel=1e-4)
    assert suv_factor(known | {"suv_type": "LBMJANMA"}, kind="lbm") == 1.0
    assert suv_factor(known | {"suv_type": "LBMJANMA"}) == pytest.approx(70 / 55.857, rel=1e-4)
    assert suv_factor({"units": "CM2ML"}, kind="bsa") == 1.0
    assert suv_factor(known | {"units": "CM2ML"}, kind="bw") == pytest.approx(70_000 / 18_481.3, rel=1e-4)
    philips = {"units": "CNTS", "philips_creator": "Philips PET Private Group", "philips_suv_factor": 0.0005}
    assert suv_factor(known | philips, kind="lbm") == pytest.approx(0.0005 * 55.857 / 70, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "changes", "word"),
    [
        ("lbm", {"height_m": None}, "height"),
        ("bsa", {"height_m": None}, "height"),
        ("bsa", {"height_m": 175.0}, "175 m"),
        ("lbm", {"sex": None}, "sex"),
        ("lbm", {"sex": "O"}, "sex"),
        ("lbm", {"weight_kg": None}, "weight"),
        ("lbm", {"units": "GML", "weight_kg": None}, "weight"),
        ("lbm", {"units": "GML", "suv_type": "LBM"}, "LBM"),
        ("bsa", {"units": "GML", "suv_type": "IBW"}, "IBW"),
    ],
)
def test_a_kind_that_lacks_what_it_needs_is_refused(kind, changes, word):
    with pytest.raises(Rejected, match="NO_UNITS") as caught:
        suv_factor(FDG | PATIENT | changes, kind=kind)
    assert word in caught.value.found


def test_counts_that_philips_scales_to_activity_are_treated_as_such():
    creator = {"units": "CNTS", "philips_creator": "Philips PET Private Group"}
    assert suv_factor(FDG | creator | {"philips_activity_factor": 2.5}) == pytest.approx(2.5 * 4e-4)
    # The factor to SUV comes first.
    both = {"philips_suv_factor": 0.001, "philips_activity_factor": 2.5}
    assert suv_factor(FDG | creator | both) == 0.001
    assert "weight" in found(**creator | {"philips_activity_factor": 2.5, "weight_kg": None})


def test_corrections_may_be_written_as_the_standard_or_as_the_recipe_does():
    for corrected in ("NORM\\DECY\\ATTN", "DECAY\\ATTN", None):
        assert suv_factor(FDG | {"corrected_image": corrected}) == pytest.approx(4e-4)


LATER = {"series_time": "170000", "acquisition_time": "112000"}
"""A series time of a later reconstruction; the first frame begins half an hour after the scan did."""


def test_ge_names_the_start_of_the_scan_in_private():
    private = {"ge_creator": "GEMS_PETD_01", "ge_scan_datetime": "20200301105000.00"}
    assert suv_factor(FDG | LATER | private) == pytest.approx(4e-4)
    # One that is another's element, or later than the first frame, is no start of a scan.
    half_hour_more = 4e-4 * 2 ** (1800 / 6600)
    assert suv_factor(FDG | LATER | private | {"ge_creator": "OTHER"}) == pytest.approx(half_hour_more)
    late = private | {"ge_scan_datetime": "20200301150000"}
    assert suv_factor(FDG | LATER | late) == pytest.approx(half_hour_more)
    # A series time before the first frame is the start, whatever else is there.
    early = private | {"ge_scan_datetime": "20200301090000"}
    assert suv_factor(FDG | early) == pytest.approx(4e-4)


def test_the_start_of_the_scan_is_found_from_the_mean_time_of_a_frame():
    # In a frame of two half-lives the rate falls from 1 to 1/4; its mean, 0.75 / ln 4 = 0.541, is passed after
    # log2(1 / 0.541) = 0.886 half-lives.
    mean_s = 6600 * math.log2(math.log(4) / 0.75)
    frame = {"frame_duration_ms": 2 * 6600e3, "frame_reference_ms": (1800 + mean_s) * 1e3}
    assert suv_factor(FDG | LATER | frame) == pytest.approx(4e-4)
    # The mean time of a short frame is its middle.
    short = {"frame_duration_ms": 120e3, "frame_reference_ms": (1800 + 60) * 1e3}
    assert suv_factor(FDG | LATER | short) == pytest.approx(4e-4, rel=1e-4)
    assert suv_factor(FDG | LATER | short | {"frame_duration_ms": None}) == pytest.approx(4e-4 * 2 ** (1800 / 6600))


def test_an_enhanced_image_names_the_time_it_is_corrected_to():
    enhanced = {"decay_correction": None, "decay_corrected": "YES", "decay_datetime": "20200301105000.000"}
    later = {"series_time": "170000", "acquisition_time": "160000"}
    assert suv_factor(FDG | later | enhanced) == pytest.approx(4e-4)
    assert "None" in found(**enhanced | {"decay_corrected": "NO"})
    assert "None" in found(**enhanced | {"decay_datetime": None})
    assert "corrected to" in found(**enhanced | {"decay_datetime": "yesterday"})
