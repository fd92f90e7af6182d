import numpy as np
import pytest
from chest_phantom import GRID, chest, dice

from cohortseg.errors import SettingsError
from cohortseg.methods.regions import body, isolated, lungs, opened, region
from cohortseg.volume import Volume


@pytest.fixture(scope="module")
def phantom():
    return chest()


def test_the_body_is_found_without_the_couch_and_with_its_air(phantom):
    volume, masks = phantom
    found = body(volume)
    assert dice(masks["body"], found) > 0.99
    assert found[masks["couch"]].mean() < 0.01
    assert found[masks["lungs"] | masks["windpipe"] | masks["bowel gas"]].all()


def test_the_lungs_are_two_without_windpipe_and_bowel_gas_and_hold_their_masses(phantom):
    volume, masks = phantom
    found = lungs(volume)
    assert dice(masks["lungs"], found) > 0.97
    assert found[masks["mass"]].all()
    assert found[masks["wall mass"] & masks["lungs"]].mean() > 0.8
    assert not found[masks["windpipe"]].any()
    assert not found[masks["bowel gas"]].any()


def test_one_lung_alone_is_not_paired_with_gas(phantom):
    volume, masks = phantom
    collapsed = volume.array.copy()
    right = masks["lungs"].copy()
    right[:, :, 55:] = False
    collapsed[right] = 40
    found = lungs(Volume(collapsed, GRID))
    assert dice(masks["lungs"] & ~right, found) > 0.97


@pytest.mark.parametrize("value", [-1000, 40])
def test_without_body_or_air_the_regions_are_empty(value):
    volume = Volume(np.full(GRID.shape, value, np.int16), GRID)
    assert body(volume).all() == (value == 40)
    assert not lungs(volume).any()


def test_everywhere_is_everywhere_and_other_names_are_refused(phantom):
    assert region("all", phantom[0]).all()
    with pytest.raises(SettingsError, match="choices: all, body, lungs"):
        region("liver", phantom[0])


def test_isolated_components_border_on_the_dark_with_half_of_their_surface():
    mask, dark = np.zeros((3, 7, 12), bool), np.ones((3, 7, 12), bool)
    mask[1, 1:3, 1:4] = True  # dark all round
    mask[1, 5, 6:10] = True  # dark above, below and at the ends
    dark[:, :, 11] = False
    mask[1, 1, 10] = True  # 1 of 6 faces is not dark
    dark[0, 5, 6:10] = dark[2, 5, 6:10] = dark[1, 6, 6:10] = False
    # the bar has 18 faces; 4 + 4 + 4 are not dark: 6 of 18 are left
    found = isolated(mask, dark)
    assert found[1, 1:3, 1:4].all()
    assert found[1, 1, 10]
    assert not found[1, 5].any()
    dark[2, 5, 6:9] = True  # 9 of 18: exactly half
    assert isolated(mask, dark)[1, 5, 6:10].all()


def test_nothing_is_isolated_in_an_empty_mask():
    assert not isolated(np.zeros((3, 4, 5), bool), np.ones((3, 4, 5), bool)).any()


def test_opening_removes_lines():
    mask = np.zeros((9, 15, 15), bool)
    mask[1:8, 2:9, 2:9] = mask[4, 5, 9:15] = True
    found = opened(mask, 2.0, (1.0, 1.0, 1.0))
    assert not found[4, 5, 10:].any()
    assert found[2:7, 3:8, 3:8].all()
    np.testing.assert_array_equal(opened(mask, 0.0, (1.0, 1.0, 1.0)), mask)
