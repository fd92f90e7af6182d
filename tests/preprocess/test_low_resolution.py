"""The low resolution of a plan: nnU-Net's rule by hand, what it says, and when there is none."""

import pytest
from fingerprint_phantom import fingerprint_of, plan_of

from cohortseg.errors import SettingsError, StudyError
from cohortseg.preprocess.low_resolution import low_resolution
from cohortseg.preprocess.patch import Geometry
from cohortseg.steps.model_space import OF_A_RESOLUTION, plan_at

STEP = 1.03


def planned(spacing_mm, shape, patch, **options):
    """The rule with a patch that is the same everywhere."""
    plan = lambda *_: Geometry(patch, (), (1, 1, 1))  # noqa: E731
    return low_resolution(spacing_mm, shape, patch, plan=plan, describe=lambda one: {"patch": one.patch}, **options)


def test_voxels_grow_by_three_per_cent_until_a_patch_holds_a_quarter():
    """125,000 of 1,000,000 voxels are an eighth: half as many voxels are needed, 1.03^24 = 2.03 is the first to do."""
    found = planned((1.0, 1.0, 1.0), (100, 100, 100), (50, 50, 50))
    assert found["share"] == 0.125
    assert found["spacing_mm"]["value"] == pytest.approx([STEP**8] * 3)
    assert found["shape"]["value"] == [79, 79, 79]
    assert "12.5 % of the usual image, less than a quarter" in found["because"]
    assert "cascade" in found["because"]


def test_much_finer_axes_give_way_first():
    """y and x alone until they are half as coarse as z (1.03^31 = 2.5), then all three: 1.03^62 * 1.03^24 > 12.5."""
    found = planned((5.0, 1.0, 1.0), (40, 400, 400), (20, 80, 80))
    assert found["share"] == pytest.approx(0.02)
    assert found["spacing_mm"]["value"] == pytest.approx([5.0 * STEP**8, STEP**39, STEP**39])


@pytest.mark.parametrize(
    ("patch", "word"), [((50, 100, 50), "no less than a quarter"), ((40, 100, 50), "so nearly a quarter")]
)
def test_there_is_none_where_a_patch_holds_a_quarter_or_nearly_so(patch, word):
    found = planned((1.0, 1.0, 1.0), (100, 100, 100), patch)
    assert set(found) == {"share", "because"}
    assert word in found["because"]
    assert "not needed" in found["because"]


def test_the_settings_may_ask_for_one_all_the_same_but_for_none_that_is_finer():
    found = planned((1.0, 2.0, 2.0), (10, 10, 10), (10, 10, 10), wanted_mm=(3.0, 2.0, 4.0))
    assert found["spacing_mm"] == {"value": [3.0, 2.0, 4.0], "because": "the settings say so"}
    assert found["shape"]["value"] == [3, 10, 5]
    with pytest.raises(SettingsError, match=r"plan.low_spacing_mm: along no axis finer .*1, 2, 2 mm"):
        planned((1.0, 2.0, 2.0), (10, 10, 10), (10, 10, 10), wanted_mm=(3.0, 1.9, 4.0))


def test_a_plan_has_a_network_of_its_own_for_low_resolution_and_shows_networks_one_of_the_two():
    plan = plan_of([fingerprint_of((1.0, 1.0, 1.0), (40, 64, 64))], patch_voxels=4096, spacing_mm=(1.0, 1.0, 1.0))
    low = plan["low_resolution"]
    assert low["share"] == pytest.approx(4096 / (40 * 64 * 64), rel=1e-3)
    assert low["patch"]["voxels"] >= 0.25 * 40 * 64 * 64 / low["spacing_mm"]["value"][0] ** 3 * 0.95
    full, coarse = plan_at(plan, "full"), plan_at(plan, "low")
    assert full == {key: value for key, value in plan.items() if key != "low_resolution"}
    assert set(coarse) == set(full)
    assert {key for key in full if coarse[key] != full[key]} <= set(OF_A_RESOLUTION)
    assert coarse["spacing_mm"] == low["spacing_mm"]


def test_planes_have_none_and_who_asks_for_what_is_not_there_hears_why():
    assert "low_resolution" not in plan_of([fingerprint_of((1.0, 1.0, 1.0))], dims=2)
    small = plan_of([fingerprint_of((1.0, 1.0, 1.0))])
    with pytest.raises(StudyError, match=r"100 % of the usual image.*`plan.low_spacing_mm`"):
        plan_at(small, "low")
    with pytest.raises(StudyError, match="remove it, the next run plans again"):
        plan_at(plan_at(small, "full"), "low")
