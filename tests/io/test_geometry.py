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


def test_a_missing_slice_is_made_of_its_neighbours_and_counted():
    grid = grid_of((41, 6, 5), (20.0, 10.0, 30.0))
    stack = stack_geometry([r for i, r in enumerate(records_of(grid)) if i != 17], mend=["missing_slices"])
    assert stack.grid.matches(grid, 1e-6)
    assert (stack.mended, stack.blend[17], stack.blend[18]) == ({"missing_slices": 1}, (16, 17, 0.5), (17, 17, 0.0))


def test_too_many_missing_slices_are_not_invented():
    records = records_of(grid_of((41, 6, 5)))
    assert reason(records[:10] + records[13:], mend=["missing_slices"]) == "MISSING_SLICE"
    assert reason(records[::2] + records[1:21:2], mend=["missing_slices"]) == "MISSING_SLICE"


def test_a_localiser_inside_a_series_is_left_out(grid):
    records = records_of(grid_of((12, 6, 5)))
    stray = records[0] | {"rows": 99}
    lost = records[1] | {"position": None}
    stack = stack_geometry([stray, *records, lost], mend=["stray_slices"])
    assert (sorted(stack.order), stack.mended) == (list(range(1, 13)), {"stray_slices": 2})
    assert reason([stray, *records]) == "MIXED_MATRIX"


def test_half_and_half_is_no_series_with_strays():
    records = records_of(grid_of((12, 6, 5)))
    mixture = records + [record | {"rows": 99} for record in records]
    assert reason(mixture, mend=["stray_slices"]) == "MIXED_MATRIX"


def test_of_repeated_slices_the_lowest_instance_number_is_kept(grid):
    records = records_of(grid)
    copy = records[3] | {"instance_number": 1}
    stack = stack_geometry([*records, copy], mend=["repeated_slices"])
    assert stack.repeats == ((len(records), 3),)
    assert stack.grid.matches(grid, 1e-6)
    assert reason([*records, copy]) == "DUPLICATE_POSITION"


def test_uneven_slices_are_resampled_at_their_median_distance():
    records = records_of(grid_of((9, 6, 5), (0.0, 0.0, 0.0), (2.0, 1.0, 1.0)))
    uneven = records[:4] + [moved(record, 1.0, grid_of((9, 6, 5), (0.0, 0.0, 0.0))) for record in records[4:]]
    assert reason(uneven) == "UNEVEN_SPACING"
    stack = stack_geometry(uneven, mend=["uneven_spacing"])
    assert (stack.grid.spacing_mm[0], stack.grid.shape[0]) == (2.0, 9)
    assert stack.blend[3] == (3, 3, 0.0)
    assert stack.blend[4] == (3, 4, pytest.approx(2 / 3))


def test_deviations_below_the_tolerance_are_told(grid):
    records = records_of(grid)
    records[3] = moved(records[3], 0.04, grid)
    assert len(stack_geometry(records, tolerance_mm=0.1).warnings) == 2
    assert stack_geometry(records_of(grid)).warnings == ()


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
