"""Every file below a folder, its header read once."""

import os
import sqlite3
from pathlib import Path

import pytest

from cohortseg.errors import SettingsError
from cohortseg.io import discover
from cohortseg.io.discover import scan
from cohortseg.phantom.dicom import write_series
from cohortseg.volume import Grid

GRID = Grid((3, 8, 9), (2.5, 0.8, 0.7), (-31.0, 12.5, 47.25))


@pytest.fixture
def source(tmp_path) -> Path:
    """Three slices of one series, and two files that are none."""
    import numpy as np

    folder = tmp_path / "source"
    write_series(folder / "b" / "scan", np.zeros(GRID.shape), spacing_mm=GRID.spacing_mm)
    (folder / "a").mkdir()
    (folder / "a" / "readme.txt").write_text("nothing")
    (folder / "z.bin").write_bytes(b"\0" * 200)
    return folder


@pytest.fixture
def cache(tmp_path) -> Path:
    return tmp_path / "private" / "headers.sqlite"


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the files whose headers are read from now on."""
    names: list[str] = []
    read = discover._read

    def counted(path):
        names.append(Path(path).name)
        return read(path)

    monkeypatch.setattr(discover, "_read", counted)
    return names


def refusal(*arguments) -> str:
    with pytest.raises(SettingsError) as caught:
        scan(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- what is found --------------------------------------------------------------------------------------------------


def test_every_file_is_found_sorted_by_path(source, cache):
    found = scan(source, cache)
    assert [file.path for file in found] == sorted(file.path for file in found)
    assert len(found) == 5
    assert [file.path for file in found if file.header is None] == ["a/readme.txt", "z.bin"]
    for file in found:
        stat = (source / file.path).stat()
        assert (file.size, file.mtime_ns, file.problem) == (stat.st_size, stat.st_mtime_ns, "")


def test_headers_are_those_of_the_reader(source, cache):
    from cohortseg.io.headers import read_header

    for file in scan(source, cache):
        assert file.header == read_header(source / file.path)


def test_a_broken_header_is_a_problem_of_that_file_alone(source, cache):
    slice_file = next((source / "b" / "scan").iterdir())
    slice_file.write_bytes(slice_file.read_bytes()[:600])
    problems = {file.path: file.problem for file in scan(source, cache)}
    assert sum(map(bool, problems.values())) == 1
    assert problems[f"b/scan/{slice_file.name}"]


def test_links_to_files_are_read_and_dead_ones_passed_over(source, cache):
    (source / "linked.txt").symlink_to(source / "a" / "readme.txt")
    (source / "dead").symlink_to(source / "nowhere")
    (source / "circle").symlink_to(source)
    assert {file.path for file in scan(source, cache) if "/" not in file.path} == {"linked.txt", "z.bin"}


def test_several_processes_find_the_same(source, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(discover, "PARALLEL_FROM", 2)
    assert scan(source, cache, workers=2) == scan(source, tmp_path / "other.sqlite", workers=1)


def test_a_name_in_another_code_page_stops_nothing(source, cache):
    os.close(os.open(os.fsencode(source) + b"/M\xfcller.txt", os.O_CREAT | os.O_WRONLY))
    first = scan(source, cache)
    assert "M\udcfcller.txt" in [file.path for file in first]
    assert scan(source, cache) == first


# ---- the cache ------------------------------------------------------------------------------------------------------


def test_a_second_look_reads_nothing(source, cache, reads):
    first = scan(source, cache)
    assert len(reads) == 5
    reads.clear()
    assert scan(source, cache) == first
    assert reads == []


def test_a_changed_file_is_read_again_and_no_other(source, cache, reads):
    scan(source, cache)
    reads.clear()
    (source / "a" / "readme.txt").write_text("something")
    found = scan(source, cache)
    assert reads == ["readme.txt"]
    assert next(file for file in found if file.path == "a/readme.txt").size == 9


def test_a_file_of_the_same_size_but_another_time_is_read_again(source, cache, reads):
    scan(source, cache)
    reads.clear()
    os.utime(source / "z.bin", ns=(10**18, 10**18))
    scan(source, cache)
    assert reads == ["z.bin"]


def test_a_new_file_is_read_and_a_gone_one_forgotten(source, cache, reads):
    scan(source, cache)
    reads.clear()
    (source / "new.txt").write_text("new")
    (source / "z.bin").unlink()
    paths = [file.path for file in scan(source, cache)]
    assert reads == ["new.txt"]
    assert "new.txt" in paths
    assert "z.bin" not in paths


def test_a_file_that_could_not_be_opened_is_tried_again(source, cache, monkeypatch):
    # As when a share was away, or a permission was set later: size and time of the file do not change by that.
    with monkeypatch.context() as patch:
        patch.setattr(discover, "_read", lambda path: (None, "the file cannot be opened (PermissionError)"))
        assert all(file.problem for file in scan(source, cache))
    assert not any(file.problem for file in scan(source, cache))


@pytest.mark.parametrize("damage", ["garbage", "empty", "cut short", "holes", "folder gone"])
def test_a_damaged_cache_is_made_again(source, cache, reads, damage):
    for number in range(60):
        (source / f"{number}.txt").write_text("x" * number)
    first = scan(source, cache)
    whole = cache.read_bytes()
    assert len(whole) > 8192, "more than one page"
    if damage == "garbage":
        cache.write_bytes(b"no database at all" * 100)
    elif damage == "empty":
        cache.write_bytes(b"")
    elif damage == "cut short":
        cache.write_bytes(whole[:6000])
    elif damage == "holes":
        cache.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    else:
        cache.unlink()
        cache.parent.rmdir()
    reads.clear()
    assert scan(source, cache) == first
    assert len(reads) == len(first)
    reads.clear()
    assert scan(source, cache) == first
    assert reads == []


def test_a_cache_of_another_version_is_made_again(source, cache, reads, monkeypatch):
    scan(source, cache)
    reads.clear()
    monkeypatch.setattr(discover, "CACHE_VERSION", discover.CACHE_VERSION + 1)
    scan(source, cache)
    assert len(reads) == 5


def test_the_cache_knows_paths_below_the_source_only(source, cache, tmp_path, reads):
    scan(source, cache)
    reads.clear()
    source.rename(tmp_path / "moved")
    scan(tmp_path / "moved", cache)
    assert reads == []
    with sqlite3.connect(cache) as database:
        paths = [os.fsdecode(path) for (path,) in database.execute("SELECT path FROM headers")]
    database.close()
    assert not any(str(tmp_path) in path for path in paths)


# ---- a source that is none ------------------------------------------------------------------------------------------


def test_a_missing_source_names_the_key_and_the_folder(tmp_path, cache):
    assert refusal(tmp_path / "none", cache) == f"cohort.source: no such folder (got '{tmp_path}/none')"


def test_a_source_that_is_a_file_is_no_folder(source, cache):
    assert refusal(source / "z.bin", cache).startswith("cohort.source: no such folder")


def test_an_empty_source_is_said_to_be_empty(tmp_path, cache):
    (tmp_path / "empty" / "deep" / "deeper").mkdir(parents=True)
    assert refusal(tmp_path / "empty", cache).startswith("cohort.source: the folder is empty")


def test_a_folder_that_cannot_be_read_stops_the_index(source, cache, monkeypatch):
    look = os.scandir

    def locked(folder):
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied", str(folder))
        return look(folder)

    monkeypatch.setattr(os, "scandir", locked)
    line = refusal(source, cache)
    assert line.startswith("cohort.source: a folder cannot be read (Permission denied)")


def test_a_refused_source_leaves_no_cache(tmp_path, cache):
    refusal(tmp_path / "none", cache)
    assert not cache.exists()


def test_a_linked_folder_is_followed(source, cache, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "scan").write_bytes(b"x")
    (source / "link").symlink_to(tmp_path / "elsewhere")
    assert "link/scan" in {file.path for file in scan(source, cache)}


def test_what_a_study_made_below_the_source_is_no_scan(source, cache):
    study = source / "results" / "one"
    (study / "private").mkdir(parents=True)
    (study / "study.json").write_text("{}")
    (study / "export.nii.gz").write_text("a label of the study")
    (source / "results" / "study.json").write_text("a file that is called so")
    found = [file.path for file in scan(source, cache)]
    assert "results/study.json" in found
    assert not [path for path in found if path.startswith("results/one/")]
