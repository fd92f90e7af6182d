"""Faults of the machine: a folder that cannot be written, a full disk, damaged stores."""

import re
import shutil
import sys
from pathlib import Path

import pytest
from bad_machine import WITHOUT_RIGHTS, on_a_small_disk
from comparable import comparable_bytes
from tiny_study import (
    COHORT,
    SOURCE,
    call,
    case_of,
    cohortseg,
    run,
    snakemake_command,
    stores,
    study_of,
    touched,
    write_config,
)

pytestmark = pytest.mark.workflow


def test_a_results_folder_that_is_only_to_be_read_stops_the_run_with_one_line(fresh):
    (fresh / "results").mkdir(mode=0o555)
    stopped = call([sys.executable, "-c", WITHOUT_RIGHTS, *snakemake_command()], fresh)
    assert stopped.returncode != 0
    assert "cannot be written (Permission denied)" in stopped.output
    assert "Traceback" not in stopped.output, stopped.output
    assert stopped.planned == {}


def test_a_study_that_is_only_to_be_read_stops_the_run_with_one_line(home):
    folders = [study_of(home), *(path for path in study_of(home).rglob("*") if path.is_dir())]
    database = study_of(home) / "private" / "headers.sqlite"
    # A new file in the source, so that there is something to write.
    (home / "ward-Wunderlich" / "new.txt").write_text("new")
    for path in (database, *folders):
        path.chmod(0o555)
    try:
        stopped = call([sys.executable, "-c", WITHOUT_RIGHTS, *snakemake_command()], home)
    finally:
        for path in (database, *folders):
            path.chmod(0o755)
    assert stopped.returncode != 0
    assert "Traceback" not in stopped.output, stopped.output
    assert "cohortseg index: " in stopped.output


def test_a_full_disk_fails_the_run_with_its_name_and_what_is_there_is_whole(fresh):
    failed = on_a_small_disk(snakemake_command("--cores", "1", "--until", "convert"), fresh, kilobytes=900)
    assert failed.returncode != 0
    # Also where the log of the job stayed empty for want of room.
    assert re.search(r"^cohortseg: No space left on device: 0\.\d MB free", failed.output, re.MULTILINE), failed.output
    converted = sorted(study_of(fresh).glob("cases/*/image.json"))
    assert 0 < len(converted) < len(COHORT)
    checked = cohortseg(fresh, "verify", str(study_of(fresh)))
    assert checked.returncode == 0, checked.output
    # With room again, the same command does the rest.
    again = run(fresh, "--until", "convert")
    assert again.returncode == 0, again.output
    assert again.finished["convert"] >= len(COHORT) - len(converted)
    assert len(list(study_of(fresh).glob("cases/*/image.json"))) == len(COHORT)


def damage(home: Path) -> list[str]:
    """Cut a chunk of an image short, remove one of a prediction, change a weight; what is damaged."""
    study = study_of(home)
    image = study / "cases" / case_of(home, 1) / "image.zarr"
    chunk = next(path for path in sorted((image / "0").rglob("*")) if path.is_file() and path.name != "zarr.json")
    chunk.write_bytes(chunk.read_bytes()[:-100])
    prediction = next(study.glob(f"experiments/unet/*/cases/{case_of(home, 2)}/post.zarr"))
    shutil.rmtree(prediction / "0")
    weights = study / "experiments" / "unet" / "fold-0-seed-1" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    return [path.relative_to(study).as_posix() for path in (image, prediction, weights)]


def test_damaged_stores_are_found_and_made_again_with_the_same_bytes(home, finished):
    # The scans stay where they are: their place is a part of what a conversion was made from.
    write_config(home, {"cohort": {"source": str(finished[0] / SOURCE)}})
    expected, before = comparable_bytes(study_of(home)), stores(home)
    names = damage(home)
    found = cohortseg(home, "verify", "results/tiny")
    assert found.returncode == 1
    assert all(name in found.output for name in names), found.output
    assert "3 of" in found.output
    mended = cohortseg(home, "verify", "results/tiny", "--mend")
    assert mended.returncode == 0, mended.output
    again = run(home)
    assert again.returncode == 0, again.output
    after = comparable_bytes(study_of(home))
    assert [path for path in {*expected, *after} if expected.get(path) != after.get(path)] == []
    # What was whole was not made again.
    model = "experiments/unet/fold-0-seed-1/"
    others = touched(before, stores(home)) - {case_of(home, 1), case_of(home, 2)}
    assert {path for path in others if not path.startswith(model)} == set()
    assert cohortseg(home, "verify", "results/tiny").returncode == 0
