"""Overlap-tile: stitched equals whole, for networks with and without padding, when tiles share the grid of poolings."""

import numpy as np
import pytest
import torch

from cohortseg.errors import SettingsError
from cohortseg.infer.blend import Scratch
from cohortseg.infer.networks import build_network, extent_of
from cohortseg.infer.overlap_tile import Span, mirrored, overlap_tile_blocks, read_mirrored, spans
from cohortseg.infer.sliding import nothing_to_see

VALID = {"dims": 2, "in_channels": 1, "out_channels": 2, "features": (2, 3, 4), "dropout": 0.0}
VOLUME = {"dims": 3, "in_channels": 2, "out_channels": 3, "features": (2, 2)}


def network_of(name, arguments):
    network = build_network(name, arguments, seed=3).eval()

    def forward(batch):
        with torch.inference_mode():
            return network(torch.from_numpy(batch))

    return forward, extent_of(name, arguments)


def stitched(image, forward, extent, patch, n_channels, **options):
    blocks = overlap_tile_blocks(image, forward, extent=extent, patch=patch, n_channels_out=n_channels, **options)
    return np.concatenate(
        [np.stack([block.channel(number) for number in range(n_channels)]) for block in blocks], axis=1
    )


def whole(image, forward, extent, n_channels):
    """One pass over the whole image, mirrored by numpy."""
    size = image.shape[-len(extent.margin) :]
    needed = extent.input_size(size)
    pads = [(m, n - s - m) for m, n, s in zip(extent.margin, needed, size, strict=True)]
    lead = [(0, 0)] * (image.ndim - len(size))
    found = np.asarray(forward(np.pad(image, [*lead, *pads], mode="reflect").astype(np.float32)))
    return found[(slice(None), slice(n_channels), *(slice(0, s) for s in size))]


def test_without_padding_stitched_equals_whole_in_the_plane():
    forward, extent = network_of("unet_paper", VALID)
    image = np.random.default_rng(0).normal(size=(3, 67, 90)).astype(np.float32)
    patch = extent.input_size((20, 24))
    result = stitched(image, forward, extent, patch, 2)
    for number, plane in enumerate(image):
        np.testing.assert_allclose(result[:, number], whole(plane[None, None], forward, extent, 2)[0], atol=2e-6)


def test_without_padding_stitched_equals_whole_in_a_volume():
    forward, extent = network_of("unet_3d_paper", VOLUME)
    image = np.random.default_rng(1).normal(size=(2, 17, 21, 30)).astype(np.float32)
    result = stitched(image, forward, extent, extent.input_size((6, 8, 10)), 3)
    np.testing.assert_allclose(result, whole(image[None], forward, extent, 3)[0], atol=5e-6)


def test_deepmedic_stitched_equals_whole():
    forward, extent = network_of(
        "deepmedic", {"dims": 2, "in_channels": 1, "out_channels": 2, "features": [4] * 8, "hidden": [4]}
    )
    image = np.random.default_rng(2).normal(size=(1, 40, 33)).astype(np.float32)
    result = stitched(image, forward, extent, extent.input_size((9, 12)), 2)
    np.testing.assert_allclose(result[:, 0], whole(image[None], forward, extent, 2)[0], atol=2e-6)


def test_a_displacement_off_the_alignment_is_another_result():
    forward, extent = network_of("unet_paper", VALID)
    image = np.random.default_rng(0).normal(size=(1, 1, 120, 100)).astype(np.float32)
    size = extent.input_size((16, 16))[0]

    def middle_of(first):
        found = np.asarray(forward(np.ascontiguousarray(image[..., first : first + size, :size])))
        return found[:, :, 8 - first : 12 - first]

    np.testing.assert_allclose(middle_of(0), middle_of(4), atol=2e-6)
    assert np.abs(middle_of(0) - middle_of(2)).max() > 1e-4


def test_with_padding_the_middle_of_a_tile_equals_the_whole():
    forward, extent = network_of("unet_paper", {**VALID, "padding": "same"})
    image = np.random.default_rng(0).normal(size=(1, 1, 160, 120)).astype(np.float32)
    result = np.asarray(forward(image))
    context = extent.context[0]
    first = 32
    tile = np.asarray(forward(np.ascontiguousarray(image[:, :, first : first + 96])))
    inner = slice(context, 96 - context)
    np.testing.assert_allclose(tile[:, :, inner], result[:, :, first + context : first + 96 - context], atol=2e-6)
    assert np.abs(tile[:, :, 0] - result[:, :, first]).max() > 1e-4


def test_mirrored_places_are_those_of_numpy():
    for size, before, after in [(5, 3, 4), (4, 11, 9), (2, 3, 3), (1, 2, 2)]:
        expected = np.pad(np.arange(size), (before, after), mode="reflect")
        np.testing.assert_array_equal(mirrored(size, -before, before + size + after), expected)


def test_a_mirrored_box_is_read_where_it_lies():
    image = np.arange(4 * 5 * 6).reshape(4, 5, 6)
    box = read_mirrored(image, (Span(-1, 4, 0, 0), Span(2, 6, 0, 0), Span(1, 2, 0, 0)))
    expected = np.pad(image, [(1, 0), (0, 3), (0, 0)], mode="reflect")[0:4, 2:8, 1:3]
    np.testing.assert_array_equal(box[0], expected)


@pytest.mark.parametrize(("size", "length", "margin", "alignment"), [(100, 40, 10, 8), (7, 40, 10, 8), (37, 30, 12, 3)])
def test_every_voxel_is_given_once_and_tiles_are_aligned(size, length, margin, alignment):
    found = spans(size, length, margin, alignment)
    given = [voxel for span in found for voxel in range(span.start, span.stop)]
    assert given == list(range(size))
    assert all((span.first + margin) % alignment == 0 for span in found)
    assert all(span.stop - span.start <= length - 2 * margin for span in found)


def test_blocks_can_be_asked_for_the_slice_before_them_and_lie_on_disk():
    forward, extent = network_of("unet_3d_paper", VOLUME)
    image = np.random.default_rng(1).normal(size=(2, 17, 12, 11)).astype(np.float32)
    options = {"extent": extent, "patch": extent.input_size((6, 8, 10)), "n_channels_out": 3}
    result = stitched(image, forward, extent, options["patch"], 3)
    for scratch in (Scratch(), Scratch(memory_mb=0.0)):
        for block in overlap_tile_blocks(image, forward, scratch=scratch, **options):
            first = max(0, block.first - 1)
            np.testing.assert_array_equal(block.planes(1, first, block.stop), result[1, first : block.stop])


def test_a_tile_that_is_skipped_is_background():
    forward, extent = network_of("unet_paper", VALID)
    image = np.random.default_rng(0).normal(size=(2, 40, 60)).astype(np.float32)
    image[1] = -3.0
    options = {"extent": extent, "patch": extent.input_size((20, 24)), "skip": nothing_to_see}
    result = stitched(image, forward, n_channels=2, **options)
    np.testing.assert_array_equal(result[:, 1], np.stack([np.ones((40, 60)), np.zeros((40, 60))]))
    np.testing.assert_allclose(result[:, 0], whole(image[None, :1], forward, extent, 2)[0], atol=2e-6)


def test_tiles_that_cannot_be_are_refused():
    forward, extent = network_of("unet_paper", VALID)
    image = np.zeros((1, 50, 50), np.float32)
    with pytest.raises(SettingsError, match="does not pass"):
        next(overlap_tile_blocks(image, forward, extent=extent, patch=(61, 64), n_channels_out=2))
    with pytest.raises(SettingsError, match="fewer than the alignment"):
        spans(50, 24, 10, 8)
    enlarging = extent_of("super_resolution", {"dims": 3})
    with pytest.raises(SettingsError, match="enlarges"):
        next(overlap_tile_blocks(image, forward, extent=enlarging, patch=(1, 8, 8), n_channels_out=1))
    with pytest.raises(ValueError, match="shape"):
        next(overlap_tile_blocks(image, forward, extent=extent, patch=extent.smallest, n_channels_out=3))
