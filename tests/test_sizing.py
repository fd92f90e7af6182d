"""Straight lines for memory and time: by hand, and against numbers that follow a line."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cohortseg.layout import Layout
from cohortseg.settings import load_study
from cohortseg.sizing import ENOUGH, Line, Need, Record, Size, fitted, memory_mb, runtime_minutes, shipped
from cohortseg.stages import STAGES
from cohortseg.steps.records import needs_of

PLAIN = shipped("convert")
NEED = Need(Line(500, 4), Line(0, 2.0))


def test_a_job_asks_for_a_fixed_part_and_a_part_by_voxels():
    assert memory_mb("convert", Size(10_000_000), NEED) == 540
    assert runtime_minutes("convert", [Size(300_000_000)], NEED) == 20


def test_a_retry_gets_more_of_both():
    assert [memory_mb("convert", Size(0), NEED, attempt) for attempt in (1, 2, 3)] == [500, 800, 1280]
    assert [runtime_minutes("convert", [Size(0)], NEED, attempt) for attempt in (1, 2, 3)] == [10, 20, 40]


def test_channels_cost_time_where_they_are_worked_through_and_classes_where_they_are():
    assert Size(2_000_000, channels=3).for_time("preprocess") == 6.0
    assert Size(2_000_000, channels=3).for_time("evaluate") == 2.0
    assert Size(2_000_000, classes=5).for_time("evaluate") == 10.0
    assert Size(2_000_000, classes=21).for_memory("predict") == pytest.approx(4.0)
    assert Size(2_000_000, classes=21).for_memory("evaluate") == 2.0


def records(n: int, base_mb: float = 80.0, slope_mb: float = 6.0, base_s: float = 1.0, slope_s: float = 0.5):
    sizes = [Size(int(1e6 * (1 + place))) for place in range(n)]
    return [
        Record(size, base_mb + slope_mb * size.voxels / 1e6, base_s + slope_s * size.voxels / 1e6) for size in sizes
    ]


def test_with_few_records_the_shipped_line_stands():
    assert fitted(PLAIN, "convert", records(ENOUGH - 1)) == PLAIN


def study_with(**more):
    labels = {"labels": {"structures": {"tumour": "GTV"}}}
    experiments = {"net": {"method": "unet", "probabilities": True}}
    return load_study({"study": "s", "cohort": {"source": ".", **labels}, "experiments": experiments, **more})


@pytest.mark.parametrize("n", [1, ENOUGH - 1, ENOUGH])
def test_the_first_finished_cases_do_not_make_a_job_forget_that_it_holds_a_random_field(monkeypatch, n):
    small = [Record(Size(1_000_000), 900.0, 1.0)] * n
    monkeypatch.setattr("cohortseg.steps.records.records_of", lambda *_: {"postprocess net": small})
    large, plain, field = Size(40_000_000), study_with(), study_with(postprocess={"crf": {}})
    asked = {}
    for name, study in (("plain", plain), ("field", field)):
        need = needs_of(Layout(study.folder), study, [])["postprocess net"]
        asked[name] = memory_mb("postprocess", large, need)
    assert asked["field"] > 5000 > asked["plain"]


def test_a_line_is_found_again():
    need = fitted(PLAIN, "convert", records(12))
    assert (need.memory_mb.base, need.memory_mb.slope) == pytest.approx((80.0, 6.0))
    assert (need.seconds.base, need.seconds.slope) == pytest.approx((1.0, 0.5))
    assert need.seconds.n == 12


def test_the_line_agrees_with_numpy():
    rng = np.random.default_rng(1)
    noisy = [Record(r.size, r.memory_mb, r.seconds + rng.uniform(0, 1)) for r in records(20)]
    slope, base = np.polyfit([r.size.voxels / 1e6 for r in noisy], [r.seconds for r in noisy], 1)
    need = fitted(PLAIN, "convert", noisy)
    assert (need.seconds.base, need.seconds.slope) == pytest.approx((base, slope))


def test_beyond_the_largest_case_on_record_the_shipped_slope_holds():
    line = fitted(PLAIN, "convert", records(12)).seconds
    assert line.at(12.0) == pytest.approx(1.0 + 0.5 * 12)
    assert line.at(112.0) == pytest.approx(1.0 + 0.5 * 12 + STAGES["convert"].seconds_per_mvoxel * 100)


def test_from_cases_of_one_size_no_slope_is_made_up():
    same = [Record(Size(5_000_000), 100.0, 3.0)] * 10
    need = fitted(PLAIN, "convert", same)
    assert need.memory_mb.slope == STAGES["convert"].byte_per_voxel
    assert need.memory_mb.at(5.0) == pytest.approx(100.0)
    assert need.seconds.at(5.0) == pytest.approx(3.0) or need.seconds.base == 0.0


sizes = st.integers(1_000, 500_000_000)


@given(st.lists(st.tuples(sizes, st.floats(10, 50_000), st.floats(0.01, 5_000)), min_size=ENOUGH, max_size=40))
def test_no_record_needs_more_memory_than_its_case_would_ask_for(found):
    cases = [Record(Size(voxels), memory, seconds) for voxels, memory, seconds in found]
    need = fitted(shipped("preprocess"), "preprocess", cases)
    assert need.memory_mb.slope >= 0
    assert need.seconds.base >= 0
    assert need.seconds.slope >= 0
    assert all(memory_mb("preprocess", case.size, need) >= case.memory_mb for case in cases)


def test_a_study_that_makes_images_asks_for_whole_volumes_and_for_time_though_it_has_no_classes():
    size = Size(20_000_000, channels=2, classes=0)
    for stage in ("preprocess", "evaluate"):
        assert memory_mb(stage, size, shipped(stage, images=True)) > memory_mb(stage, size, shipped(stage))
    assert shipped("predict", images=True) == shipped("predict")
    assert size.for_memory("predict") == Size(20_000_000).for_memory("predict")
    assert size.for_time("predict") == Size(20_000_000, classes=1).for_time("predict")
