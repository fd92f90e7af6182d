import numpy as np
import pytest
from fingerprint_phantom import fingerprint_of, plan_of, with_channels

from cohortseg.preprocess.drift import drift, properties
from cohortseg.preprocess.fingerprint import case_fingerprint
from cohortseg.volume import Grid


def test_a_familiar_case_does_not_drift():
    cases = [fingerprint_of((z, 0.8, 0.8), seed=z) for z in (1, 2, 3)]
    plan = plan_of(cases)
    assert [drift(plan, case) for case in cases] == [[], [], []]


@pytest.mark.parametrize(
    ("case", "word"),
    [
        (fingerprint_of((7.0, 0.8, 0.8)), "spacing along z"),
        (fingerprint_of((2.0, 0.8, 0.8), (6, 8, 30)), "extent along x"),
        (fingerprint_of((2.0, 0.8, 0.8), tumour_hu=700), "median foreground intensity"),
    ],
)
def test_what_lies_outside_is_named_with_numbers(case, word):
    plan = plan_of([fingerprint_of((z, 0.8, 0.8), seed=z) for z in (1, 2, 3)])
    assert any(line.startswith(word) and "the plan saw" in line for line in drift(plan, case))


def test_a_class_that_no_case_had_is_drift():
    grid = Grid((6, 8, 9), (1, 1, 1), (0, 0, 0))
    image, label = np.zeros(grid.shape, np.int16), np.zeros(grid.shape, np.uint8)
    label[2:4, 3:6, 1:5] = 1
    plan = plan_of([case_fingerprint({"image": image}, label, grid, n_classes=2)])
    label[5, 7, 7] = 2
    assert any("class 2" in line for line in drift(plan, case_fingerprint({"image": image}, label, grid, n_classes=2)))


def test_intensities_of_arbitrary_units_are_no_drift():
    seen, other = fingerprint_of((1, 1, 1)), fingerprint_of((1, 1, 1), tumour_hu=2000)
    assert drift(plan_of([seen], modality="CT"), other) != []
    assert drift(plan_of([seen], modality="MR"), other) == []


def test_every_property_is_seen():
    plan = plan_of([fingerprint_of((1, 1, 1))])
    assert set(plan["seen"]["ranges"]) == set(properties(["image"]))
    assert None not in plan["seen"]["ranges"].values()


def test_each_channel_drifts_by_itself_and_a_missing_one_not_at_all():
    def case_of(ct_hu, pet):
        return with_channels(
            fingerprint_of((1, 1, 1), tumour_hu=ct_hu), pet=pet and fingerprint_of((1, 1, 1), tumour_hu=pet)
        )

    for modality, n_lines in (("PT", 0), ("CT", 1)):
        plan = plan_of([case_of(60, 60), case_of(60, None)], modalities={"ct": "CT", "pet": modality})
        assert drift(plan, case_of(60, None)) == []
        lines = drift(plan, case_of(60, 900))
        assert len([line for line in lines if line.startswith("median foreground intensity of pet is ")]) == n_lines
        assert all("of pet" in line for line in lines)
        assert any(line.startswith("median foreground intensity of ct") for line in drift(plan, case_of(900, 60)))
