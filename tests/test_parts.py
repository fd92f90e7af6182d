"""Which volumes a series holds: by tags, by two tags together, by order; and when it is for the geometry to say."""

import itertools

import numpy as np
import pytest

from cohortseg.errors import Rejected
from cohortseg.parts import parts_of
from cohortseg.slices import is_plane_image, slice_of, slices_of

ORIENTATION = [0.8, 0.48, -0.36, 0.0, 0.6, 0.8]
NORMAL = np.cross(ORIENTATION[:3], ORIENTATION[3:])


def at(z: int, **more) -> dict:
    position = np.array([-31.0, 12.5, 47.25]) + 2.5 * z * NORMAL
    return {"position": position.tolist(), "orientation": ORIENTATION} | more


def volumes(n_slices=6, shuffled=True, **values) -> list[dict]:
    """All slices at each combination of values, in no order."""
    slices = [
        at(z, **dict(zip(values, chosen, strict=True)))
        for chosen in itertools.product(*values.values())
        for z in range(n_slices)
    ]
    order = np.random.default_rng(1).permutation(len(slices)) if shuffled else range(len(slices))
    return [slices[place] for place in order]


def told(slices) -> list[tuple[str, str, int]]:
    parts = parts_of(slices)
    assert sorted(place for part in parts for place in part.members) == list(range(len(slices)))
    return [(part.name, part.by, len(part.members)) for part in parts]


def test_a_plain_stack_is_one_volume():
    assert told(volumes()) == [("", "", 6)]
    assert told([]) == [("", "", 0)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"temporal_position": [2, 1, 10]}, [("t1", 6), ("t2", 6), ("t10", 6)]),
        ({"te_ms": [4.6, 2.3]}, [("te2-3", 6), ("te4-6", 6)]),
        ({"b_value": [800.0, 0.0]}, [("b0", 6), ("b800", 6)]),
        ({"image_type": ["ORIGINAL\\PRIMARY\\M", "ORIGINAL\\PRIMARY\\P"]}, [("m", 6), ("p", 6)]),
    ],
)
def test_one_tag_tells_the_volumes_apart(values, expected):
    (tag,) = values
    assert told(volumes(**values)) == [(name, tag, n) for name, n in expected]


def test_two_tags_together_do_where_none_does_alone():
    found = told(volumes(echo_number=[1, 2], temporal_position=[1, 2, 3]))
    assert [name for name, _, _ in found] == ["t1-echo1", "t1-echo2", "t2-echo1", "t2-echo2", "t3-echo1", "t3-echo2"]
    assert {by for _, by, _ in found} == {"temporal_position+echo_number"}


def test_directions_and_times_of_day_are_named_by_their_rank():
    gradients = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]
    assert {name for name, _, _ in told(volumes(gradient=gradients))} == {"dir1", "dir2"}
    times = ["101500.25", "101730.5"]
    names = {name for name, _, _ in told(volumes(acquisition_time=times))}
    assert names == {"time1", "time2"}, "a time of day is identity"


def test_an_interrupted_last_phase_is_a_part_of_its_own():
    slices = volumes(temporal_position=[1, 2, 3], shuffled=False)[:-2]
    assert told(slices) == [
        ("t1", "temporal_position", 6),
        ("t2", "temporal_position", 6),
        ("t3", "temporal_position", 4),
    ]


def test_without_any_tag_the_instance_number_orders_what_lies_at_one_place():
    slices = [at(z, instance_number=10 * phase + z) for phase in (1, 2) for z in range(6)]
    assert told(slices) == [("repeat1", "repeat", 6), ("repeat2", "repeat", 6)]
    assert parts_of(slices)[1].members == tuple(range(6, 12))


def test_what_nothing_tells_apart_is_left_to_the_geometry():
    assert told([at(z) for _ in range(2) for z in range(6)]) == [("", "", 12)]
    assert told([at(z) for z in (0, 1, 2, 2, 3)]) == [("", "", 5)], "a single slice twice is no second volume"
    missing = volumes(temporal_position=[1, 2])
    missing[3]["position"] = None
    assert told(missing) == [("", "", 12)]


def test_orientations_that_differ_are_no_volumes():
    turned = [at(z) | {"orientation": [1, 0, 0, 0, 1, 0]} for z in range(6)]
    assert told(volumes() + turned) == [("", "", 12)]


# ---- records of slices ----------------------------------------------------------------------------------------------


def test_a_multi_frame_record_becomes_one_record_a_frame():
    record = {"rows": 4, "n_frames": 2, "slope": 2.0, "frames": [{"position": [0, 0, 1]}, {"position": [0, 0, 2]}]}
    first, second = slices_of(record)
    assert first == {"rows": 4, "n_frames": 2, "slope": 2.0, "position": [0, 0, 1], "frame": 0}
    assert second == slice_of(record, 1)
    assert slices_of({"n_frames": 1}) == [{"n_frames": 1}]
    with pytest.raises(Rejected, match="NO_FRAMES"):
        slices_of({"n_frames": 3})


def test_a_picture_is_what_has_no_place_and_never_should_have():
    assert is_plane_image({"modality": "CR"})
    assert is_plane_image({"modality": "CT", "sop_class": "1.2.840.10008.5.1.4.1.1.7"}), "a secondary capture"
    assert not is_plane_image({"modality": "CT"}), "a CT slice without position is broken"
    assert not is_plane_image({"modality": "US"} | at(0)), "a slice of an ultrasound volume"
