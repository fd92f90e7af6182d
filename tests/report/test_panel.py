"""The panel of all methods: borders by hand, a tile for each in order, and colours that say what is what."""

import numpy as np
from matplotlib.colors import to_rgb

from cohortseg.report.panel import Tile, borders, panel, thick
from cohortseg.report.style import OUTLINE_ONE, OUTLINES

LABEL = np.array(
    [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 2, 2],
        [0, 1, 1, 1, 2, 2],
    ]
)


def test_borders_are_inside_the_objects_also_between_two_and_not_at_the_end_of_the_image():
    expected = [
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0, 0],
        [0, 1, 0, 1, 1, 1],
        [0, 1, 0, 1, 1, 0],
    ]
    assert borders(LABEL).astype(int).tolist() == expected


def test_borders_of_a_large_image_are_wider_and_stay_inside():
    label = np.zeros((60, 900), int)
    label[10:40, 100:200] = 1
    edge = borders(label)
    found = thick(edge, label)
    assert found[10:13, 150].all()
    assert not found[13:37, 150].any()
    assert not found[label == 0].any()
    assert (thick(edge[:, :300], label[:, :300]) == edge[:, :300]).all()


def shown(figure, place):
    return np.asarray(figure.axes[place].images[0].get_array())


def test_each_method_has_its_tile_in_the_order_given():
    tiles = [Tile(f"m{k}", (LABEL == 1).astype(int), 0.9 - k / 10) for k in range(7)]
    figure = panel(np.arange(24.0).reshape(4, 6), LABEL, [*tiles, Tile("none", LABEL * 0, float("nan"))])
    titles = [axes.get_title() for axes in figure.axes if axes.images]
    assert titles == ["reference", *(f"m{k} {0.9 - k / 10:.2f}" for k in range(7)), "none –"]
    assert len(figure.axes) == 12
    picture = shown(figure, 1)
    assert (picture[1, 1] == to_rgb(OUTLINE_ONE[1])).all()
    assert picture[2, 2, 0] == picture[2, 2, 1] == picture[2, 2, 2]  # inside: the image in grey
    nothing = shown(figure, 8)
    assert (nothing[..., 0] == nothing[..., 2]).all()


def test_classes_have_colours_of_their_own_and_objects_one():
    figure = panel(np.zeros((4, 6)), LABEL, [Tile("a", LABEL, 0.5)])
    assert (shown(figure, 1)[1, 1] == to_rgb(OUTLINES[0][0])).all()
    assert (shown(figure, 1)[2, 5] == to_rgb(OUTLINES[1][0])).all()
    figure = panel(np.zeros((4, 6)), LABEL, [Tile("a", LABEL, 0.5)], objects=True)
    assert (shown(figure, 1)[2, 5] == to_rgb(OUTLINE_ONE[1])).all()
    assert (shown(figure, 0)[2, 5] == to_rgb(OUTLINE_ONE[0])).all()
