"""Outlines enclose exactly the pixels they were drawn round, whatever the mask."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from polygon_fill import area_of, fill

from cohortseg.io.contours import outlines

MASKS = arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9), elements=st.booleans())


def drawn(text: str) -> np.ndarray:
    return np.array([[mark == "#" for mark in line] for line in text.split()])


@pytest.mark.parametrize(
    ("text", "areas"),
    [
        ("...", []),
        ("#", [1.0]),
        ("##\n##", [4.0]),
        ("###\n#.#\n###", [1.0, 9.0]),
        ("#.#", [1.0, 1.0]),
        ("#.\n.#", [1.0, 1.0]),
        (".#\n#.", [1.0, 1.0]),
        ("#####\n#...#\n#.#.#\n#...#\n#####", [1.0, 9.0, 25.0]),
    ],
)
def test_each_part_and_each_hole_has_an_outline_of_its_own(text, areas):
    assert sorted(area_of(outline) for outline in outlines(drawn(text))) == areas


def test_an_outline_turns_at_the_corners_of_the_pixels():
    (outline,) = outlines(drawn("....\n.##."))
    assert sorted(map(tuple, outline.tolist())) == [(0.5, 0.5), (0.5, 2.5), (1.5, 0.5), (1.5, 2.5)]


def test_two_holes_that_share_a_corner_are_two_outlines():
    found = outlines(drawn("####\n#.##\n##.#\n####"))
    assert sorted(area_of(outline) for outline in found) == [1.0, 1.0, 16.0]


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_filling_by_the_even_odd_rule_gives_the_mask_back(mask):
    np.testing.assert_array_equal(fill(outlines(mask), mask.shape), mask)


@given(MASKS)
@settings(max_examples=150, deadline=None)
def test_no_outline_passes_a_corner_twice_and_every_edge_is_straight_and_drawn_once(mask):
    edges: set[tuple[tuple[float, ...], ...]] = set()
    for outline in outlines(mask):
        corners = list(map(tuple, outline.tolist()))
        assert len(set(corners)) == len(corners) >= 4
        turns = np.roll(outline, -1, axis=0) - outline
        assert ((turns != 0).sum(axis=1) == 1).all(), "along a row or along a column"
        # Corners only: no two edges on end run the same way.
        assert ((turns[:, 0] != 0) != (np.roll(turns, 1, axis=0)[:, 0] != 0)).all()
        for one, other in zip(corners, corners[1:] + corners[:1], strict=True):
            steps = int(np.abs(np.subtract(other, one)).sum())
            for k in range(steps):
                a, b = (tuple(np.add(one, np.subtract(other, one) * n / steps)) for n in (k, k + 1))
                edge = tuple(sorted((a, b)))
                assert edge not in edges
                edges.add(edge)
    padded = np.pad(mask, 1)
    assert len(edges) == (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()


@given(MASKS)
@settings(max_examples=50, deadline=None)
def test_the_outlines_of_a_turned_mask_are_the_turned_outlines(mask):
    there = sorted(area_of(outline) for outline in outlines(mask))
    assert sorted(area_of(outline) for outline in outlines(mask[::-1])) == there
    assert sorted(area_of(outline) for outline in outlines(mask.T)) == there
