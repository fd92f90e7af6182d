"""Contours written as text: the same label as from points in the world or in pixels, and each mistake with its line."""

import numpy as np
import pytest
from dicom_phantom import grid_of, world_polygon

from cohortseg.errors import Rejected
from cohortseg.io.contour_text import text_mask

GRID = grid_of((7, 14, 11))
WORLD = "structure,contour,x,y,z"
PIXELS = "structure,contour,slice,row,column"
OUTER = [(0.5, 1.5), (0.5, 8.5), (6.5, 8.5), (6.5, 1.5)]
INNER = [(2.5, 3.5), (2.5, 6.5), (4.5, 6.5), (4.5, 3.5)]
LONE = [(8.5, 1.5), (8.5, 4.5), (11.5, 4.5), (11.5, 1.5)]


def rows(structure, contour, z, corners):
    return [f"{structure},{contour},{z},{y},{x}" for y, x in corners]


def world_rows(structure, contour, z, corners):
    points = world_polygon(GRID, z, np.array(corners, float))
    return [f"{structure},{contour},{x:.6f},{y:.6f},{z:.6f}" for x, y, z in points]


def drawn(written=rows):
    """A ring and, beside it on the same slice, a square; a square on another slice; another structure."""
    return [
        *written("GTV", 1, 2, OUTER),
        *written("GTV", 2, 2, INNER),
        *written("GTV", "b", 2, LONE),
        *written("GTV", 3, 4, INNER),
        *written("Lung", 1, 4, LONE),
    ]


def wanted():
    label = np.zeros(GRID.shape, np.uint8)
    label[2, 1:7, 2:9] = 1
    label[2, 3:5, 4:7] = 0
    label[2, 9:12, 2:5] = 1
    label[4, 3:5, 4:7] = 1
    return label


def write(tmp_path, lines, heading=PIXELS, separator=",", end="\n"):
    path = tmp_path / "contours.txt"
    path.write_bytes("".join(line.replace(",", separator) + end for line in (heading, *lines)).encode())
    return path


def paint(tmp_path, lines, structures=None, heading=PIXELS, **options):
    return text_mask(write(tmp_path, lines, heading), GRID, structures or {"tumour": "GTV"}, **options)


def found(path, structures=None, grid=GRID):
    with pytest.raises(Rejected) as caught:
        text_mask(path, grid, structures or {"tumour": "GTV"})
    return str(caught.value)


def test_a_hole_and_two_contours_on_one_slice_are_painted(tmp_path):
    label, facts = paint(tmp_path, drawn())
    assert label.dtype == np.uint8
    np.testing.assert_array_equal(label, wanted())
    assert (facts["n_rois"], facts["n_contours"], facts["n_skipped_slices"]) == ({"tumour": 1}, 4, 1)


def test_points_in_the_world_give_the_same_label_as_points_in_pixels(tmp_path):
    label, facts = paint(tmp_path, drawn(world_rows), heading=WORLD)
    np.testing.assert_array_equal(label, wanted())
    assert facts["plane_offset_mm"] < 1e-3


@pytest.mark.parametrize(
    ("separator", "end"), [(",", "\r\n"), ("\t", "\n"), (" ", "\n"), ("  ", "\r\n"), (" , ", "\n")]
)
def test_commas_tabs_and_blanks_separate(tmp_path, separator, end):
    path = write(tmp_path, drawn(), separator=separator, end=end)
    np.testing.assert_array_equal(text_mask(path, GRID, {"tumour": "GTV"})[0], wanted())


def test_a_byte_order_mark_and_empty_lines_mean_nothing(tmp_path):
    path = write(tmp_path, ["", *drawn()[:4], "  ", *drawn()[4:], "", ""])
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    np.testing.assert_array_equal(text_mask(path, GRID, {"tumour": "GTV"})[0], wanted())


def test_names_may_be_quoted_and_of_any_script(tmp_path):
    quoted = [line.replace("GTV", '"GTV, größer ""1"""') for line in drawn()]
    label, _ = paint(tmp_path, quoted, {"tumour": ["nothing", 'GTV, größer "1"']})
    np.testing.assert_array_equal(label, wanted())


def test_each_class_gets_its_structures(tmp_path):
    label, facts = paint(tmp_path, drawn(), {"lung": "Lung", "heart": "Heart", "tumour": "GTV"}, missing="empty")
    expected = wanted() * 3
    expected[4, 9:12, 2:5] = 1
    np.testing.assert_array_equal(label, expected)
    assert (facts["n_rois"], facts["missing"]) == ({"lung": 1, "heart": 0, "tumour": 1}, ["heart"])
    path = write(tmp_path, drawn())
    assert "LABEL_STRUCTURE_MISSING" in found(path, {"lung": "Lung", "heart": "Heart"})
    assert "LABEL_STRUCTURE_MISSING" in found(write(tmp_path, []))


def test_short_and_repeated_contours_are_counted(tmp_path):
    lines = [*drawn(), *rows("GTV", "line", 3, LONE[:2]), *rows("GTV", "again", 4, INNER[::-1])]
    label, facts = paint(tmp_path, lines)
    np.testing.assert_array_equal(label, wanted())
    assert (facts["n_contours"], facts["n_ignored"]) == (4, 2)


def test_contours_between_slices_go_where_they_are_told(tmp_path):
    lines = [*world_rows("GTV", 1, 1.6, INNER), *world_rows("GTV", 2, 3.6, INNER)]
    on_the_slice = [*lines, *world_rows("GTV", 3, 6.0, INNER)]
    assert sorted(set(np.nonzero(paint(tmp_path, on_the_slice, heading=WORLD)[0])[0])) == [2, 4, 6]
    with pytest.raises(Rejected, match=r"LABEL_OFF_GRID: all 2 contours .* by 0\.40 slice distances"):
        paint(tmp_path, lines, heading=WORLD)
    label, _ = paint(tmp_path, lines, heading=WORLD, planes="interpolate")
    assert sorted(set(np.nonzero(label)[0])) == [2, 3, 4]
    with pytest.raises(Rejected, match="LABEL_OFF_GRID"):
        paint(tmp_path, lines, heading=WORLD, planes="reject")


@pytest.mark.parametrize(
    ("lines", "reason"),
    [(rows("GTV", 1, 7, INNER), "LABEL_OUTSIDE"), (rows("GTV", 1, 2, np.array(OUTER) - 4), "LABEL_OUTSIDE")],
)
def test_contours_outside_the_image_are_refused(tmp_path, lines, reason):
    assert reason in found(write(tmp_path, lines))


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("Secret,1,2,3", "line 3: 4 values, not 5"),
        ("Secret,1,2,3,4,5", "line 3: 6 values, not 5"),
        ("Secret", "line 3: 1 values, not 5"),
        ("Secret,1,2,Secret,4", "line 3: row is no decimal number"),
        ("Secret,1,2,3,", "line 3: column is no decimal number"),
        ("Secret,1,2,nan,4", "line 3: row is no decimal number"),
        ("Secret,1,2,3,inf", "line 3: column is no decimal number"),
        ("Secret,1,2,1_0,4", "line 3: row is no decimal number"),
        ("Secret,1,2.5,3,4", "line 3: slice is no whole number"),
        ("Secret,1,2,'3',4", "line 3: row is no decimal number"),
        ('Secret,1,2,3,"4', "line 3: quotes that do not close"),
        (",1,2,3,4", "line 3: no name of a structure or contour"),
        ("Secret,,2,3,4", "line 3: no name of a structure or contour"),
        (PIXELS, "line 3: slice is no whole number"),
    ],
)
def test_a_broken_line_is_told_by_its_number_and_never_by_its_text(tmp_path, line, words):
    told = found(write(tmp_path, [*rows("GTV", 1, 2, OUTER)[:1], line, *rows("GTV", 1, 2, OUTER)[1:]]))
    assert told == f"LABEL_UNREADABLE: {words}"
    assert "Secret" not in told


def test_a_decimal_comma_is_refused(tmp_path):
    path = write(tmp_path, [*rows("GTV", 1, 2, OUTER), "GTV,1,2,3;5,4"], separator="\t")
    path.write_text(path.read_text().replace(";", ","))
    assert found(path) == "LABEL_UNREADABLE: line 6: row is no decimal number"


def test_a_contour_that_comes_back_is_refused(tmp_path):
    lines = [*rows("GTV", 1, 2, OUTER), *rows("GTV", 2, 2, INNER), *rows("GTV", 1, 2, LONE)]
    assert found(write(tmp_path, lines)) == "LABEL_UNREADABLE: line 10: a contour that ended before goes on"
    # Another structure may use the same name.
    paint(tmp_path, [*rows("GTV", 1, 2, OUTER), *rows("Lung", 1, 2, INNER)])


@pytest.mark.parametrize(
    "heading", ["", "structure,contour,z,y,x", "Structure,contour,x,y,z", "x,y,z", WORLD + ",more"]
)
def test_another_heading_is_refused(tmp_path, heading):
    assert "the heading is neither structure,contour,x,y,z nor" in found(write(tmp_path, drawn(), heading))


def test_files_that_are_no_text_or_not_there_are_refused(tmp_path):
    path = write(tmp_path, drawn())
    content = path.read_bytes()
    path.write_bytes(content.replace(b"\nGTV,2", b"\nG\xe4V,2", 1))
    assert found(path) == "LABEL_UNREADABLE: line 6: not UTF-8"
    path.write_bytes(b"")
    assert "line 1: the heading" in found(path)
    path.write_bytes(content.decode().encode("utf-16"))
    assert "LABEL_UNREADABLE" in found(path)
    assert "SOURCE_CHANGED" in found(tmp_path / "absent")
