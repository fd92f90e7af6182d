"""Order and grid of slices from headers."""

import json

import numpy as np
import pytest
from dicom_phantom import grid_of
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import Rejected
from cohortseg.io.geometry import stack_geometry
from cohortseg.io.headers import read_header

MENDS = ["stray_slices", "repeated_slices", "missing_slices", "uneven_spacing"]


def records_of(grid, **common):
    """Header records of the slices of a grid, in order."""
    return [
        {
            "rows": grid.shape[1],
            "columns": grid.shape[2],
            "n_frames": 1,
            "position": list(grid.world((index, 0, 0))),
            "orientation": [*grid.axes[2], *grid.axes[1]],
            "pixel_spacing_mm": list(grid.spacing_mm[1:]),
            "slice_thickness_mm": 5.0,
            "instance_number": 100 - index,
        }
        | common
        for index in range(grid.shape[0])
    ]


def moved(record, along_mm, grid, axis=0):
    """The slice, shifted along an axis of the grid."""
    return record | {"position": (np.array(record["position"]) + along_mm * np.array(grid.axes[axis])).tolist()}


def reason(records, **options):
    with pytest.raises(Rejected) as caught:
        stack_geometry(records, **options)
    return caught.value.reason


@pytest.fixture
def grid():
    return grid_of()


@given(
    degrees=st.tuples(*[st.floats(-180, 180)] * 3),
    sizes=st.tuples(st.integers(2, 9), st.integers(1, 30), st.integers(1, 30)),
    spacing=st.tuples(*[st.floats(0.3, 7.0)] * 3),
    data=st.data(),
)
@settings(max_examples=50, deadline=None)
def test_any_stack_is_found_again_from_its_shuffled_slices(degrees, sizes, spacing, data):
    grid = grid_of(sizes, degrees, spacing)
    shuffled = data.draw(st.permutations(range(sizes[0])))
    records = records_of(grid)
    stack = stack_geometry([records[index] for index in shuffled])
    assert [shuffled[index] for index in stack.order] == list(range(sizes[0]))
    assert stack.grid.matches(grid, 1e-6)
    assert stack.jitter_mm < 1e-6
    assert stack.lean_mm < 1e-6


def test_the_grid_does_not_depend_on_the_order_of_the_files(grid):
    records = [moved(record, 1e-3 * np.sin(index), grid) for index, record in enumerate(records_of(grid))]
    grids = {
        json.dumps(stack_geometry(some).grid.as_dict()) for some in (records, records[::-1], records[3:] + records[:3])
    }
    assert len(grids) == 1


def test_z_grows_along_the_normal_even_when_slices_were_acquired_downwards(grid):
    stack = stack_geometry(records_of(grid)[::-1])
    x, y = np.array(grid.axes[2]), np.array(grid.axes[1])
    np.testing.assert_allclose(stack.grid.axes[0], np.cross(x, y), atol=1e-12)
    np.testing.assert_allclose(stack.grid.origin_mm, grid.origin_mm)


def test_spacing_comes_from_the_positions_and_not_from_the_thickness(grid):
    assert stack_geometry(records_of(grid, slice_thickness_mm=99.0)).grid.spacing_mm == pytest.approx((2.5, 0.8, 0.7))


def test_a_single_slice_takes_its_thickness(grid):
    stack = stack_geometry(records_of(grid)[:1], min_slices=1)
    assert stack.grid.shape == (1, 14, 11)
    assert stack.grid.spacing_mm[0] == 5.0
    assert reason(records_of(grid, slice_thickness_mm=None)[:1]) == "NO_POSITION"


def test_slices_of_two_frames_of_reference_are_no_volume(grid):
    first, *others = records_of(grid, frame_uid="1.2.3")
    assert stack_geometry([first, *others]).grid.matches(grid)
    assert reason([first | {"frame_uid": "1.2.4"}, *others]) == "OTHER_FRAME"
    assert stack_geometry([first | {"frame_uid": None}, *others]).grid.matches(grid)


def test_small_jitter_is_borne_and_told(grid):
    records = records_of(grid)
    records[3] = moved(records[3], 0.02, grid)
    stack = stack_geometry(records, tolerance_mm=0.05)
    assert stack.jitter_mm == pytest.approx(0.02)
    assert stack.grid.matches(grid, 1e-6)


def test_what_the_tolerance_says_decides(grid):
    records = records_of(grid)
    records[3] = moved(records[3], 0.2, grid)
    assert reason(records, tolerance_mm=0.1) == "UNEVEN_SPACING"
    assert stack_geometry(records, tolerance_mm=0.25).jitter_mm == pytest.approx(0.2)


def test_small_deviations_that_add_up_are_refused():
    grid = grid_of((200, 4, 4))
    steps = np.linspace(-0.04, 0.04, 199)
    records = [moved(r, s, grid) for r, s in zip(records_of(grid), [0, *np.cumsum(steps)], strict=True)]
    assert reason(records, tolerance_mm=0.05) == "UNEVEN_SPACING"


@pytest.mark.parametrize("gone", [[3], [2, 3], [2, 5]])
def test_missing_slices_are_named_as_such(gone):
    records = records_of(grid_of((9, 4, 4)))
    assert reason([record for index, record in enumerate(records) if index not in gone]) == "MISSING_SLICE"


def test_spacing_that_changes_halfway_is_uneven(grid):
    records = records_of(grid)
    assert reason(records[:3] + [moved(r, 0.4 * i, grid) for i, r in enumerate(records[3:], 1)]) == "UNEVEN_SPACING"


def test_two_slices_at_one_place_are_refused(grid):
    records = records_of(grid)
    assert reason([*records, records[2]]) == "DUPLICATE_POSITION"
    assert reason([records[0]] * 4) == "DUPLICATE_POSITION"
    assert reason(records + [moved(record, 0.001, grid) for record in records]) == "DUPLICATE_POSITION"


@pytest.mark.parametrize("degrees", [15.0, 1.0])
def test_a_gantry_tilt_is_refused(degrees):
    grid = grid_of((30, 4, 4))
    shift = 2.5 * np.tan(np.radians(degrees))
    assert reason([moved(r, i * shift, grid, axis=1) for i, r in enumerate(records_of(grid))]) == "GANTRY_TILT"


def test_rounding_of_the_directions_is_no_gantry_tilt(grid):
    records = records_of(grid)
    rounded = [record | {"orientation": [round(value, 3) for value in record["orientation"]]} for record in records]
    stack = stack_geometry(rounded)
    assert 0 < stack.lean_mm < 0.02
    directions = np.array(stack.grid.axes)
    np.testing.assert_allclose(directions @ directions.T, np.eye(3), atol=1e-15)


def test_a_localiser_among_the_slices_is_refused(grid):
    other = grid_of((1, 30, 30), (0, 0, 0))
    assert reason(records_of(grid) + records_of(other)) == "MIXED_ORIENTATION"


@pytest.mark.parametrize(
    "changed", [{"rows": 15}, {"columns": 12}, {"columns": None}, {"pixel_spacing_mm": [0.8, 0.71]}]
)
def test_slices_of_another_matrix_are_refused(grid, changed):
    records = records_of(grid)
    records[2] |= changed
    assert reason(records) == "MIXED_MATRIX"


@pytest.mark.parametrize("key", ["position", "orientation", "pixel_spacing_mm"])
@pytest.mark.parametrize("value", [None, [], [1.0]])
def test_a_slice_that_does_not_say_where_it_lies_is_refused(grid, key, value):
    records = records_of(grid)
    records[2] |= {key: value}
    assert reason(records) == "NO_POSITION"


@pytest.mark.parametrize(
    "changed", [{"orientation": [0.0] * 6}, {"orientation": [1, 0, 0, 0.5, 0.8, 0]}, {"pixel_spacing_mm": [0.0, 1.0]}]
)
def test_numbers_that_describe_no_plane_are_refused(grid, changed):
    assert reason(records_of(grid, **changed)) == "NO_POSITION"


def test_too_few_slices_and_multi_frame_objects_are_refused(grid):
    assert reason(records_of(grid), min_slices=8) == "TOO_FEW_SLICES"
    assert reason([]) == "TOO_FEW_SLICES"
    assert reason(records_of(grid, n_frames=40)[:1], min_slices=8) == "NO_FRAMES"


def test_frames_of_one_file_are_slices_like_others(grid):
    records = [record | {"n_frames": 7, "frame": index} for index, record in enumerate(records_of(grid))]
    assert stack_geometry(records) == stack_geometry(records_of(grid))
    del records[3]["frame"]
    assert reason(records) == "NO_FRAMES"


def test_thick_slices_overlap_and_thin_ones_leave_gaps_by_design(grid):
    stack = stack_geometry(records_of(grid))
    assert (stack.thickness_mm, stack.overlap) == (5.0, 0.5)
    assert stack_geometry(records_of(grid, slice_thickness_mm=2.0)).overlap == -0.25
    bare = stack_geometry(records_of(grid, slice_thickness_mm=None))
    assert (bare.thickness_mm, bare.overlap) == (None, None)


def test_a_regular_stack_has_nothing_to_tell(grid):
    stack = stack_geometry(records_of(grid), mend=MENDS, gantry_tilt="deskew")
    assert (stack.blend, stack.shift_yx, stack.repeats, stack.mended, stack.warnings) == (None, None, (), {}, ())
    assert stack == stack_geometry(records_of(grid))
    assert json.loads(json.dumps(stack.facts)) == stack.facts


def test_deviations_below_the_tolerance_are_told_from_the_warning_on(grid):
    records = records_of(grid)
    records[3] = moved(records[3], 0.02, grid)
    records[5] = moved(records[5], 0.03, grid, axis=1)
    warnings = stack_geometry(records).warnings
    assert len(warnings) == 3
    assert "0.02 mm" in warnings[0]
    assert "0.02 mm" in warnings[1]
    assert "0.03 mm" in warnings[2]
    assert len(stack_geometry(records, warning_mm=0.025).warnings) == 1
    assert stack_geometry(records, warning_mm=0.04).warnings == ()


def test_strays_are_left_out(grid):
    records = records_of(grid)
    localiser = records_of(grid_of((1, 14, 11), (0, 0, 0)))
    nowhere = [records[0] | {"position": None}]
    stack = stack_geometry([*localiser, *records, *nowhere][:8], mend=["stray_slices"])
    assert stack.order == tuple(range(1, 8))
    assert stack.mended == {"stray_slices": 1}
    assert stack.grid == stack_geometry(records).grid
    assert stack_geometry([*records, *nowhere], mend=["stray_slices"]).order == tuple(range(7))
    assert stack_geometry([*records, records[0] | {"rows": 15}], mend=["stray_slices"]).order == tuple(range(7))
    assert stack_geometry([*records, records[0] | {"pixel_spacing_mm": [0.8, 0.8]}], mend=["stray_slices"]).order == (
        tuple(range(7))
    )


def test_a_mixture_is_no_series_with_strays(grid):
    records = records_of(grid)
    localiser = records_of(grid_of((2, 14, 11), (0, 0, 0)))
    assert reason(records + localiser, mend=["stray_slices"]) == "MIXED_ORIENTATION"
    assert reason(records + localiser[:1], mend=["stray_slices"], min_slices=8) == "MIXED_ORIENTATION"
    assert reason(records + localiser[:1], mend=["repeated_slices", "missing_slices"]) == "MIXED_ORIENTATION"


def test_of_repeated_slices_the_first_by_number_is_used(grid):
    records = records_of(grid)
    again = [records[2] | {"instance_number": 5}, records[2] | {"instance_number": None}]
    stack = stack_geometry([*again, *records], mend=["repeated_slices"])
    assert stack.order == (2, 3, 0, 5, 6, 7, 8)
    assert set(stack.repeats) == {(0, 4), (0, 1)}
    assert stack.mended == {"repeated_slices": 2}
    assert stack.grid == stack_geometry(records).grid


def test_a_whole_second_copy_of_the_series_is_left_out(grid):
    records = records_of(grid)
    stack = stack_geometry(records + [record | {"instance_number": 200} for record in records], mend=MENDS)
    assert stack.order == tuple(range(7))
    assert stack.repeats == tuple((index, index + 7) for index in range(7))


def test_slices_beside_each_other_are_no_copies(grid):
    records = records_of(grid)
    assert reason([*records, moved(records[2], 1.0, grid, axis=2)], mend=MENDS) == "DUPLICATE_POSITION"
    assert reason([records[0]] * 4, mend=MENDS, min_slices=3) == "TOO_FEW_SLICES"
    assert reason([*records, records[2]], mend=["stray_slices", "missing_slices", "uneven_spacing"]) == (
        "DUPLICATE_POSITION"
    )


@pytest.mark.parametrize(("gone", "blended"), [([20], {20: [(19, 20, 1 / 2)]}), ([3, 4], {3: [(2, 3, 1 / 3)]})])
def test_few_missing_slices_are_blended(gone, blended):
    grid = grid_of((41, 4, 5))
    records = records_of(grid)
    stack = stack_geometry([r for index, r in enumerate(records) if index not in gone], mend=["missing_slices"])
    assert stack.grid.matches(grid, 1e-6)
    assert stack.mended == {"missing_slices": len(gone)}
    assert len(stack.blend) == 41
    for index, expected in blended.items():
        assert stack.blend[index] == pytest.approx(expected[0])
    assert stack.blend[0] == (0, 0, 0.0)
    assert stack.blend[40] == (40 - len(gone), 40 - len(gone), 0.0)


@pytest.mark.parametrize("gone", [[20, 21, 22], [3, 8, 30], [1, 2, 39]])
def test_many_missing_slices_are_refused_still(gone):
    records = records_of(grid_of((41, 4, 5)))
    assert reason([r for i, r in enumerate(records) if i not in gone], mend=["missing_slices"]) == "MISSING_SLICE"


def test_gaps_and_uneven_distances_are_mended_only_when_named(grid):
    records = records_of(grid_of((41, 4, 5)))
    with_gap = records[:20] + records[21:]
    uneven = records[:3] + [moved(record, 0.4 * index, grid) for index, record in enumerate(records[3:], 1)]
    others = ["stray_slices", "repeated_slices"]
    assert reason(with_gap, mend=others) == "MISSING_SLICE"
    assert reason(uneven, mend=[*others, "missing_slices"]) == "UNEVEN_SPACING"
    # Resampling covers every distance, and a gap as well.
    assert stack_geometry(with_gap, mend=["uneven_spacing"]).mended == {"uneven_spacing": 1}


def test_uneven_slices_are_resampled_at_their_median_distance(grid):
    # Heights 0, 2, 4, 7, 10, 12, 14, 16: the median distance is 2.
    records = [moved(records_of(grid)[0], height, grid) for height in (0, 2, 4, 7, 10, 12, 14, 16)]
    stack = stack_geometry(records, mend=["uneven_spacing"])
    assert stack.grid.shape[0] == 9
    assert stack.grid.spacing_mm[0] == pytest.approx(2.0)
    assert stack.grid.origin_mm == pytest.approx(grid.origin_mm)
    assert stack.mended == {"uneven_spacing": 2}
    assert stack.blend[3] == pytest.approx((2, 3, 2 / 3))
    assert stack.blend[4] == pytest.approx((3, 4, 1 / 3))
    assert stack.blend[5] == (4, 4, 0.0)


def test_very_uneven_slices_are_refused_still(grid):
    records = [moved(records_of(grid)[0], height, grid) for height in (0, 2, 4, 10.1, 12, 14)]
    assert reason(records, mend=["uneven_spacing"]) == "UNEVEN_SPACING"


def leaning(grid, shift_y_px, shift_x_px):
    """A stack whose slices are displaced in proportion to their height."""
    records = records_of(grid)
    for axis, by_mm in ((1, shift_y_px * grid.spacing_mm[1]), (2, shift_x_px * grid.spacing_mm[2])):
        records = [moved(record, index * by_mm, grid, axis) for index, record in enumerate(records)]
    return records


def test_a_leaning_stack_is_set_upright_in_a_larger_matrix(grid):
    stack = stack_geometry(leaning(grid, -1.25, 0.5), gantry_tilt="deskew")
    # Seven slices: the last one lies 7.5 rows above and 3 columns beside the first.
    assert stack.grid.shape == (7, 14 + 8, 11 + 3)
    np.testing.assert_allclose(stack.grid.world((0, 8, 0)), grid.origin_mm, atol=1e-9)
    np.testing.assert_allclose(stack.shift_yx, [(8 - 1.25 * i, 0.5 * i) for i in range(7)], atol=1e-9)
    assert stack.mended == {"gantry_tilt": 7}
    assert stack.warnings == ()
    assert stack.lean_mm == pytest.approx(np.hypot(7.5 * 0.8, 3 * 0.7))


def test_each_voxel_of_a_leaning_stack_keeps_its_place(grid):
    records = leaning(grid, 0.7, -0.3)
    stack = stack_geometry(records[::-1], gantry_tilt="deskew")
    for place, (y, x), index in zip(stack.order, stack.shift_yx, range(7), strict=True):
        np.testing.assert_allclose(stack.grid.world((index, y, x)), records[::-1][place]["position"], atol=1e-9)


def test_what_is_no_straight_lean_is_refused_still(grid):
    records = leaning(grid, 1.0, 0.0)
    bent = records[:3] + [moved(record, 0.3, grid, axis=2) for record in records[3:]]
    assert reason(bent, gantry_tilt="deskew") == "GANTRY_TILT"
    assert reason(leaning(grid, 4.0, 0.0), gantry_tilt="deskew") == "GANTRY_TILT"
    assert reason(records, mend=MENDS) == "GANTRY_TILT"


@given(seed=st.integers(0, 10**6), data=st.data())
@settings(max_examples=40, deadline=None)
def test_no_mend_depends_on_the_order_of_the_files(seed, data):
    rng = np.random.default_rng(seed)
    grid = grid_of((45, 6, 5), tuple(rng.uniform(-180, 180, 3)))
    records = leaning(grid, float(rng.uniform(-2, 2)), float(rng.uniform(-1, 1)))
    records = [moved(record, float(rng.uniform(-0.02, 0.02)), grid) for record in records]
    del records[int(rng.integers(1, 44))]
    copy = int(rng.integers(0, 44))
    records = [record | {"sop_uid": f"1.2.{place}"} for place, record in enumerate(records)]
    twin = {"instance_number": int(rng.integers(55, 105)), "sop_uid": "1.2.99"}
    records += [records[copy] | twin, records[copy] | {"position": None}]
    shuffled = data.draw(st.permutations(range(len(records))))
    straight = stack_geometry(records, mend=MENDS, gantry_tilt="deskew", min_slices=3)
    stack = stack_geometry([records[i] for i in shuffled], mend=MENDS[::-1], gantry_tilt="deskew", min_slices=3)
    assert tuple(shuffled[place] for place in stack.order) == straight.order
    assert [(shuffled[kept], shuffled[copy]) for kept, copy in stack.repeats] == list(straight.repeats)
    assert straight.mended == {"stray_slices": 1, "repeated_slices": 1, "gantry_tilt": 44, "missing_slices": 1}
    assert stack.facts == straight.facts
    assert (stack.grid, stack.blend, stack.shift_yx) == (straight.grid, straight.blend, straight.shift_yx)


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "expected"),
    [
        ("gantrytilting/001", "GANTRY_TILT"),
        ("notavolume/001", "DUPLICATE_POSITION"),
        ("slicecount/001", "TOO_FEW_SLICES"),
        ("sliceincrement/001", "MISSING_SLICE"),
        ("sliceincrement/002", "GANTRY_TILT"),
        ("sliceorientation/001", "MIXED_ORIENTATION"),
    ],
)
def test_real_series_that_break_converters_are_refused_with_the_right_reason(unpacked, folder, expected):
    files = sorted((unpacked / "faulty-dicom" / "failing" / folder).iterdir())
    assert reason([read_header(path) for path in files], min_slices=3) == expected


@pytest.mark.data
@pytest.mark.parametrize(
    ("folder", "mend", "expected"),
    [
        ("gantrytilting/001", [], ((4, 521, 512), {"gantry_tilt": 4})),
        ("notavolume/001", MENDS, "TOO_FEW_SLICES"),
        ("slicecount/001", MENDS, "TOO_FEW_SLICES"),
        # One of five slices is more than interpolation may make, so that only resampling covers it.
        ("sliceincrement/001", MENDS[:3], "MISSING_SLICE"),
        ("sliceincrement/001", MENDS, ((5, 512, 512), {"uneven_spacing": 1})),
        ("sliceincrement/002", MENDS[:3], "MISSING_SLICE"),
        ("sliceincrement/002", MENDS, ((5, 514, 512), {"gantry_tilt": 4, "uneven_spacing": 1})),
        ("sliceorientation/001", MENDS, "MIXED_ORIENTATION"),
    ],
)
def test_real_series_that_break_converters_are_mended_or_refused_still(unpacked, folder, mend, expected):
    records = [read_header(path) for path in sorted((unpacked / "faulty-dicom" / "failing" / folder).iterdir())]
    options = {"min_slices": 3, "mend": mend, "gantry_tilt": "deskew"}
    if isinstance(expected, str):
        assert reason(records, **options) == expected
    else:
        stack = stack_geometry(records, **options)
        assert (stack.grid.shape, stack.mended) == expected
