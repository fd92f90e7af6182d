"""Stores: what was written comes back, whole or not at all, and damage shows."""

import json
import os
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from cohortseg.errors import StudyError
from cohortseg.io import store
from cohortseg.volume import Grid, Volume

SINE, COSINE = 0.6, 0.8
OBLIQUE = ((0.0, -SINE, COSINE), (0.0, COSINE, SINE), (-1.0, 0.0, 0.0))


def grid_of(shape, axes=OBLIQUE) -> Grid:
    return Grid(tuple(shape), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25), axes)


def volume_of(shape=(70, 9, 130), dtype=np.int16, seed=3) -> Volume:
    values = np.random.default_rng(seed).integers(-1000, 3000, shape)
    return Volume(values.astype(dtype), grid_of(shape))


def slabs_of(array, cuts):
    """The array cut at these places along z."""
    places = [0, *sorted({min(cut, len(array)) for cut in cuts} - {0, len(array)}), len(array)]
    return [(start, array[start:end]) for start, end in pairwise(places)]


def files_of(path: Path) -> list[Path]:
    return sorted(one for one in path.rglob("*") if one.is_file())


def shards_of(path: Path) -> list[Path]:
    return [one for one in files_of(path) if one.name != "zarr.json"]


# ---- round trip -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32, np.float16])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 7, 11), (70, 9, 130), (3, 600, 5)])
def test_a_volume_comes_back_as_it_was(tmp_path, shape, dtype):
    volume = volume_of(shape, dtype)
    store.write_volume(tmp_path / "image.zarr", volume)
    found = store.read_volume(tmp_path / "image.zarr")
    assert found.array.dtype == dtype
    np.testing.assert_array_equal(found.array, volume.array)
    assert found.grid == volume.grid


def test_slabs_come_in_order_and_cover_the_array(tmp_path):
    volume = volume_of((150, 9, 13))
    store.write_volume(tmp_path / "image.zarr", volume)
    slabs = list(store.read_slabs(tmp_path / "image.zarr"))
    assert [start for start, _ in slabs] == [0, 64, 128]
    np.testing.assert_array_equal(np.concatenate([slab for _, slab in slabs]), volume.array)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 140), st.lists(st.integers(1, 140), max_size=12))
def test_slabs_may_have_any_thickness(tmp_path_factory, n_slices, cuts):
    folder = tmp_path_factory.mktemp("slabs")
    volume = volume_of((n_slices, 3, 4))
    whole = store.write_volume(folder / "whole.zarr", volume)
    cut = store.write(folder / "cut.zarr", volume.grid, np.int16, slabs_of(volume.array, cuts))
    assert cut == whole
    np.testing.assert_array_equal(store.read_volume(folder / "cut.zarr").array, volume.array)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 60), st.lists(st.integers(1, 60), max_size=12), st.integers(1, 20))
def test_slabs_are_regrouped_to_multiples_of_a_shard(n_slices, cuts, thickness):
    array = np.arange(n_slices)[:, None, None] * np.ones((1, 2, 3))
    found = list(store.regroup(slabs_of(array, cuts), thickness))
    assert all(start % thickness == 0 for start, _ in found)
    assert all(len(slab) % thickness == 0 for _, slab in found[:-1])
    np.testing.assert_array_equal(np.concatenate([slab for _, slab in found]), array)


def test_the_same_volume_gives_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        store.write_volume(tmp_path / name / "image.zarr", volume_of())
    one, two = files_of(tmp_path / "one"), files_of(tmp_path / "two")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in two]


# ---- format ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shape", "chunk", "shard"),
    [
        ((1, 1, 1), (1, 1, 1), (1, 1, 1)),
        ((40, 50, 60), (40, 50, 60), (40, 50, 60)),
        ((100, 100, 100), (64, 64, 64), (64, 128, 128)),
        ((300, 512, 512), (64, 64, 64), (64, 512, 512)),
        ((7, 700, 513), (7, 64, 64), (7, 512, 512)),
    ],
)
def test_shards_hold_whole_planes_of_whole_chunks(shape, chunk, shard):
    assert store.chunk_shape(shape) == chunk
    assert store.shard_shape(shape) == shard
    assert all(outer % inner == 0 for outer, inner in zip(shard, chunk, strict=True))


def test_an_image_is_a_few_files(tmp_path):
    store.write_volume(tmp_path / "image.zarr", volume_of((130, 80, 90)))
    assert len(shards_of(tmp_path / "image.zarr")) == 3
    array = store.open_array(tmp_path / "image.zarr")
    assert (array.chunks, array.shards) == ((64, 64, 64), (64, 128, 128))


def test_ome_zarr_says_scale_translation_and_orientation(tmp_path):
    # Axial slices: z to the head, y to the back, x to the left.
    grid = Grid((4, 6, 5), (3.0, 0.8, 0.7), (-100.0, -50.0, 20.0))
    store.write_volume(tmp_path / "image.zarr", Volume(np.zeros(grid.shape, np.uint8), grid), name="label")
    attributes = json.loads((tmp_path / "image.zarr" / "zarr.json").read_text())["attributes"]
    assert attributes["ome"]["version"] == "0.5"
    (multiscale,) = attributes["ome"]["multiscales"]
    assert multiscale["name"] == "label"
    assert [axis["name"] for axis in multiscale["axes"]] == ["z", "y", "x"]
    assert {(axis["type"], axis["unit"]) for axis in multiscale["axes"]} == {("space", "millimeter")}
    assert [axis["orientation"] for axis in multiscale["axes"]] == [
        {"type": "anatomical", "value": "inferior-to-superior"},
        {"type": "anatomical", "value": "anterior-to-posterior"},
        {"type": "anatomical", "value": "right-to-left"},
    ]
    (dataset,) = multiscale["datasets"]
    assert dataset["path"] == "0"
    scale, translation = dataset["coordinateTransformations"]
    assert scale == {"type": "scale", "scale": [3.0, 0.8, 0.7]}
    # In the order of the axes.
    assert translation == {"type": "translation", "translation": [20.0, -50.0, -100.0]}


def test_an_axis_that_runs_the_other_way_says_so(tmp_path):
    axes = ((0.0, 0.0, -1.0), (0.0, -1.0, 0.0), (-1.0, 0.0, 0.0))
    grid = Grid((2, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), axes)
    store.write_volume(tmp_path / "image.zarr", Volume(np.zeros(grid.shape, np.uint8), grid))
    (multiscale,) = json.loads((tmp_path / "image.zarr" / "zarr.json").read_text())["attributes"]["ome"]["multiscales"]
    values = [axis["orientation"]["value"] for axis in multiscale["axes"]]
    assert values == ["superior-to-inferior", "posterior-to-anterior", "left-to-right"]


def test_an_oblique_affine_is_kept_to_the_last_digit(tmp_path):
    volume = volume_of((3, 4, 5))
    store.write_volume(tmp_path / "image.zarr", volume)
    attributes = zarr.open_group(tmp_path / "image.zarr", mode="r").attrs.asdict()
    np.testing.assert_array_equal(attributes["cohortseg"]["affine_zyx_to_lps_mm"], volume.grid.affine)
    assert store.read_grid(tmp_path / "image.zarr") == volume.grid
    # What 0.5 can say of it: scaled and moved along its own axes.
    transformations = attributes["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
    along = np.array(transformations[1]["translation"])
    np.testing.assert_allclose(np.array(OBLIQUE).T @ along, volume.grid.origin_mm)


@pytest.mark.parametrize("dtype", [np.int32, np.uint16])
def test_numbered_objects_keep_numbers_beyond_a_byte(tmp_path, dtype):
    volume = volume_of((3, 70, 66), dtype)
    volume.array[:] = np.arange(volume.array.size).reshape(volume.array.shape) % 60_000
    content = store.write_volume(tmp_path / "instances.zarr", volume, name="instances")
    found = store.read_volume(tmp_path / "instances.zarr")
    assert found.array.dtype == dtype
    np.testing.assert_array_equal(found.array, volume.array)
    assert store.content_digest(tmp_path / "instances.zarr") == content


# ---- several channels -----------------------------------------------------------------------------------------------


def with_channels(path: Path, shape=(70, 9, 130), names=("ct", "pet", "mr"), seed=5) -> np.ndarray:
    """A store of several channels, written one shard of one channel at a time; returns what it must hold."""
    values = np.random.default_rng(seed).integers(-1000, 3000, (len(names), *shape)).astype(np.float16)
    out = store.channels_of(store.create(path, grid_of(shape), np.float16, channels=names))
    for channel, wanted in zip(out, values, strict=True):
        step = channel.shards[0]
        for z in range(0, shape[0], step):
            channel[z : z + step, :, :] = wanted[z : z + step]
    return values


@pytest.mark.parametrize(
    ("shape", "chunk", "shard"),
    [
        ((2, 100, 100, 100), (1, 64, 64, 64), (1, 64, 128, 128)),
        ((3, 1, 700, 513), (1, 1, 64, 64), (1, 1, 512, 512)),
    ],
)
def test_a_shard_holds_one_channel(shape, chunk, shard):
    assert store.chunk_shape(shape) == chunk
    assert store.shard_shape(shape) == shard


def test_channels_come_back_in_order_and_each_is_an_array_of_its_own(tmp_path):
    values = with_channels(tmp_path / "prepared.zarr")
    array = store.open_array(tmp_path / "prepared.zarr")
    np.testing.assert_array_equal(array[:], values)
    assert array.metadata.dimension_names == ("c", "z", "y", "x")
    for channel, wanted in zip(store.channels_of(array), values, strict=True):
        assert (channel.shape, channel.dtype) == (wanted.shape, np.float16)
        assert (channel.chunks, channel.shards) == ((64, 9, 64), (64, 9, 192))
        np.testing.assert_array_equal(channel[3:66, 2:5, 60:], wanted[3:66, 2:5, 60:])
    assert store.read_grid(tmp_path / "prepared.zarr") == grid_of((70, 9, 130))


def test_slabs_of_channels_come_one_channel_after_the_other(tmp_path):
    values = with_channels(tmp_path / "prepared.zarr")
    slabs = list(store.read_slabs(tmp_path / "prepared.zarr"))
    assert [start for start, _ in slabs] == [0, 64] * 3
    np.testing.assert_array_equal(np.concatenate([slab for _, slab in slabs]), values.reshape(-1, 9, 130))


def test_the_digest_of_channels_sees_their_order_and_every_voxel(tmp_path):
    digests = set()
    for number, change in enumerate(
        (lambda v: v, lambda v: v[::-1], lambda v: np.where(v == v[-1, -1, -1, -1], 0.5, v))
    ):
        path = tmp_path / f"{number}.zarr"
        values = with_channels(path)
        zarr.open_group(path, mode="r+")["0"][:] = change(values)
        digests.add(store.content_digest(path))
    assert len(digests) == 3


def test_a_channel_that_is_never_written_is_zero_and_no_file(tmp_path):
    path = tmp_path / "prepared.zarr"
    out = store.channels_of(store.create(path, grid_of((3, 4, 5)), np.float16, channels=["ct", "pet"]))
    out[0][:, :, :] = np.ones((3, 4, 5), np.float16)
    assert len(shards_of(path)) == 1
    np.testing.assert_array_equal(store.open_array(path)[1], np.zeros((3, 4, 5)))
    assert store.content_digest(path) == store.content_digest(path)


def test_ome_zarr_knows_the_channel_axis_and_our_attributes_its_names(tmp_path):
    with_channels(tmp_path / "prepared.zarr", (3, 4, 5))
    attributes = json.loads((tmp_path / "prepared.zarr" / "zarr.json").read_text())["attributes"]
    (multiscale,) = attributes["ome"]["multiscales"]
    assert [axis["name"] for axis in multiscale["axes"]] == ["c", "z", "y", "x"]
    assert multiscale["axes"][0] == {"name": "c", "type": "channel"}
    scale, translation = multiscale["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [1.0, 2.5, 0.8, 0.7]
    assert (len(translation["translation"]), translation["translation"][0]) == (4, 0.0)
    assert attributes["cohortseg"]["channels"] == ["ct", "pet", "mr"]


def test_one_channel_is_stored_as_if_there_were_no_channels(tmp_path):
    for name, channels in (("plain", ()), ("one", ("image",))):
        array = store.create(tmp_path / name / "image.zarr", grid_of((3, 4, 5)), np.int16, channels=channels)
        array[:] = np.arange(60).reshape(3, 4, 5)
        assert len(store.channels_of(array)) == 1
    one, plain = files_of(tmp_path / "one"), files_of(tmp_path / "plain")
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in plain]


# ---- whole or not at all --------------------------------------------------------------------------------------------


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_failure_leaves_no_store_and_no_rest(tmp_path):
    def slabs():
        yield 0, np.zeros((64, 3, 4), np.int16)
        raise RuntimeError("decoder")

    with pytest.raises(RuntimeError, match="decoder"):
        store.write(tmp_path / "image.zarr", grid_of((100, 3, 4)), np.int16, slabs())
    assert left_in(tmp_path) == []


def test_a_failure_leaves_the_old_store(tmp_path):
    old = volume_of((5, 3, 4))
    store.write_volume(tmp_path / "image.zarr", old)
    with pytest.raises(StudyError):
        store.write(tmp_path / "image.zarr", grid_of((9, 3, 4)), np.int16, [(0, old.array)])
    np.testing.assert_array_equal(store.read_volume(tmp_path / "image.zarr").array, old.array)
    assert left_in(tmp_path) == ["image.zarr"]


KILLED = """
import os, signal, sys, numpy as np
from pathlib import Path
from cohortseg.io import store
from cohortseg.volume import Grid

def slabs():
    yield 0, np.ones((64, 3, 4), np.int16)
    os.kill(os.getpid(), signal.SIGKILL)

store.write(Path(sys.argv[1]) / "image.zarr", Grid((100, 3, 4), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)), np.int16, slabs())
"""


def test_a_kill_leaves_no_store_under_its_name_and_the_next_write_sweeps_up(tmp_path):
    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False, timeout=60)
    assert ended.returncode == -signal.SIGKILL
    assert not (tmp_path / "image.zarr").exists()
    assert len(left_in(tmp_path)) == 1
    store.write_volume(tmp_path / "image.zarr", volume_of((5, 3, 4)))
    assert left_in(tmp_path) == ["image.zarr"]


def test_a_kill_while_the_old_store_goes_leaves_no_half_store_under_its_name(tmp_path, monkeypatch):
    store.write_volume(tmp_path / "image.zarr", volume_of((5, 3, 4)))

    def killed(path, ignore_errors=False):
        if path.exists():
            raise KeyboardInterrupt

    monkeypatch.setattr("cohortseg.io.store.shutil.rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        store.remove(tmp_path / "image.zarr")
    assert not (tmp_path / "image.zarr").exists()


def test_removing_what_is_not_there_is_no_error(tmp_path):
    store.remove(tmp_path / "image.zarr")


@pytest.mark.parametrize(
    ("starts", "thickness"),
    [
        ([0, 3], 4),  # overlap
        ([0, 5], 4),  # gap
        ([4, 0], 4),  # wrong order
        ([0], 4),  # too few
        ([0, 4, 8], 4),  # too many
        ([0, 32, 16, 48], 16),  # wrong order inside a shard
        ([], 4),
    ],
)
def test_slabs_that_do_not_cover_the_grid_once_are_refused(tmp_path, starts, thickness):
    n_slices = 64 if thickness == 16 else 8
    slabs = [(start, np.full((thickness, 3, 4), start, np.int16)) for start in starts]
    with pytest.raises(StudyError, match="slabs"):
        store.write(tmp_path / "image.zarr", grid_of((n_slices, 3, 4)), np.int16, slabs)
    assert left_in(tmp_path) == []


# ---- digests and damage ---------------------------------------------------------------------------------------------


def test_the_digest_is_that_of_the_decoded_voxels(tmp_path):
    volume = volume_of()
    written = store.write_volume(tmp_path / "image.zarr", volume)
    assert written == store.content_digest(tmp_path / "image.zarr")
    assert written.startswith("sha256:")


def test_the_digest_does_not_depend_on_chunks_or_compression(tmp_path):
    volume = volume_of((70, 9, 30))
    expected = store.write_volume(tmp_path / "image.zarr", volume)
    group = zarr.create_group(
        tmp_path / "other.zarr", attributes=zarr.open_group(tmp_path / "image.zarr", mode="r").attrs.asdict()
    )
    group.create_array("0", data=volume.array, chunks=(3, 4, 30), compressors=None)
    assert store.content_digest(tmp_path / "other.zarr") == expected


@pytest.mark.parametrize(
    "change",
    [
        lambda v: Volume(v.array.astype(np.int32), v.grid),
        lambda v: Volume(v.array + (np.arange(v.array.size).reshape(v.array.shape) == 7).astype(np.int16), v.grid),
        lambda v: Volume(v.array, Grid(v.grid.shape, v.grid.spacing_mm, (0.0, 0.0, 0.0), v.grid.axes)),
        lambda v: Volume(
            v.array.reshape(4, 3, 5), Grid((4, 3, 5), *(v.grid.spacing_mm, v.grid.origin_mm, v.grid.axes))
        ),
    ],
    ids=["dtype", "one voxel", "grid", "shape"],
)
def test_whatever_differs_shows_in_the_digest(tmp_path, change):
    volume = volume_of((3, 4, 5))
    changed = change(volume)
    assert store.write_volume(tmp_path / "a.zarr", volume) != store.write_volume(tmp_path / "b.zarr", changed)


def test_every_array_of_a_store_counts(tmp_path):
    store.write_volume(tmp_path / "prepared.zarr", volume_of((3, 4, 5)))
    before = store.content_digest(tmp_path / "prepared.zarr")
    group = zarr.open_group(tmp_path / "prepared.zarr", mode="r+")
    store.create_array(group, "label", (3, 4, 5), np.uint8)[:] = 1
    assert store.content_digest(tmp_path / "prepared.zarr") != before


def sees_damage(path: Path, expected: str) -> bool:
    """Whether a check by digest finds the store damaged, as `cohortseg verify` does."""
    try:
        return store.content_digest(path) != expected
    except StudyError:
        return True


@pytest.mark.parametrize("what", ["truncated", "emptied", "missing", "one bit", "metadata", "attributes"])
def test_damage_is_seen(tmp_path, what):
    path = tmp_path / "case" / "image.zarr"
    expected = store.write_volume(path, volume_of())
    shard = shards_of(path)[1]
    whole = shard.read_bytes()
    if what == "truncated":
        shard.write_bytes(whole[: len(whole) // 2])
    elif what == "emptied":
        shard.write_bytes(b"")
    elif what == "missing":
        shard.unlink()
    elif what == "one bit":
        middle = len(whole) // 2
        shard.write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    elif what == "metadata":
        (path / "0" / "zarr.json").write_text("{")
    else:
        (path / "zarr.json").write_text("{}")
    assert sees_damage(path, expected)


def test_a_damaged_store_is_named_without_its_folder(tmp_path):
    path = tmp_path / "private person" / "case_1" / "image.zarr"
    store.write_volume(path, volume_of((3, 4, 5)))
    shards_of(path)[0].write_bytes(b"short")
    with pytest.raises(StudyError, match=r"case_1/image\.zarr") as caught:
        store.content_digest(path)
    assert "private person" not in str(caught.value)


@pytest.mark.parametrize("read", [store.open_array, store.read_grid, store.read_volume, store.content_digest])
def test_a_store_that_is_not_there_is_an_error_of_the_study(tmp_path, read):
    with pytest.raises(StudyError, match="no readable store"):
        read(tmp_path / "case_1" / "image.zarr")


def test_a_store_is_opened_for_reading_only(tmp_path):
    store.write_volume(tmp_path / "image.zarr", volume_of((3, 4, 5)))
    with pytest.raises(ValueError, match="read-only"):
        store.open_array(tmp_path / "image.zarr")[:] = 0


def test_temporary_names_carry_the_process(tmp_path):
    with store.new_store(tmp_path / "image.zarr") as part:
        assert str(os.getpid()) in part.name
        assert part.name.startswith(".")
        part.mkdir()
        node = part.stat().st_ino
    assert left_in(tmp_path) == ["image.zarr"]
    # Moved in one step, never copied.
    assert (tmp_path / "image.zarr").stat().st_ino == node
