import ast
import inspect
import subprocess
import sys
import textwrap
from importlib import import_module
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from flat_phantom import blob

from cohortseg.blocks import SLICE, Scope, run_blocks
from cohortseg.errors import Rejected, SettingsError, StudyError
from cohortseg.methods import METHODS, segmenter
from cohortseg.methods.learned import LEARNERS
from cohortseg.settings import METHOD_SETTINGS, Study
from cohortseg.steps.learners import NOT_OF_THE_FIT
from cohortseg.volume import Grid, Volume

ROOT = Path(__file__).parents[2]
CLASSICAL = sorted(name for name, entry in METHODS.items() if entry.load is not None)
BOUNDED = sorted(name for name in CLASSICAL if METHODS[name].scope != "volume")


OF_NO_ROW = {"forest", "mean_shape", "ellipsoid"}
"""Beside what was published for these tasks: a common rival, and two floors."""


def defaults_of(name):
    """The default settings of a method, as the step hands them to its builder."""
    return METHOD_SETTINGS[name](method=name).model_dump(exclude={"method", "channel"})


def builder_of(name):
    load = METHODS[name].load
    assert load is not None
    return load()


def test_every_method_of_the_settings_is_in_the_table():
    assert set(METHODS) == set(METHOD_SETTINGS)


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_entry_says_where_it_comes_from_what_it_is_and_which_rows_it_covers(name):
    entry = METHODS[name]
    assert entry.source
    assert entry.summary
    assert bool(entry.rows) == (name not in OF_NO_ROW)
    assert entry.dims
    assert set(entry.dims) <= {2, 3}


@pytest.mark.parametrize("name", METHODS)
def test_every_entry_has_a_file_of_tests_that_imports_it(name):
    entry = METHODS[name]
    assert entry.source
    text = (ROOT / entry.test).read_text()
    assert "def test_" in text
    if name in CLASSICAL:
        module = builder_of(name).__module__
        room, _, file = module.rpartition(".")
        assert f"from {module} import" in text or any(
            line.startswith(f"from {room} import") and file in line.replace(",", " ").split()
            for line in text.splitlines()
        )


def test_a_method_needs_weights_or_can_be_loaded():
    for entry in METHODS.values():
        assert entry.needs_weights == (entry.load is None)


@pytest.mark.parametrize("name", CLASSICAL)
def test_settings_and_builder_agree_and_no_setting_is_read_by_nobody(name):
    build, settings = builder_of(name), METHOD_SETTINGS[name]
    parameters = inspect.signature(build).parameters
    assert set(parameters) == set(settings.model_fields) - {"method", "channel"}
    assert {key: one.default for key, one in parameters.items()} == defaults_of(name)
    tree = ast.parse(textwrap.dedent(inspect.getsource(build)))
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    deleted = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Delete)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    assert set(parameters) <= read - deleted


@pytest.mark.parametrize("name", LEARNERS)
def test_settings_and_learner_agree(name):
    parameters = inspect.signature(LEARNERS[name].fit).parameters
    options = {key: one.default for key, one in parameters.items() if one.kind is one.KEYWORD_ONLY}
    given = METHOD_SETTINGS[name](method=name).model_dump(exclude=NOT_OF_THE_FIT)
    assert options.pop("seed", None) == (1 if "seeds" in METHOD_SETTINGS[name].model_fields else None)
    assert options == given
    assert METHODS[name].needs_weights


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_defaults_of_the_settings_build_a_segmenter_for_volumes_and_planes(name):
    volume, _ = blob(noise=10)
    segment = segmenter(name, defaults_of(name))
    found = segment(volume)
    assert found.dtype == np.uint8
    assert found.shape == volume.grid.shape
    plane = Volume(volume.array[6:7], Grid((1, *volume.grid.shape[1:]), volume.grid.spacing_mm, (0.0, 0.0, 0.0)))
    if 2 in METHODS[name].dims:
        assert segment(plane).shape == plane.grid.shape
    else:
        with pytest.raises(Rejected, match=f"method {name} works on volumes"):
            segment(plane)


@pytest.mark.parametrize("name", CLASSICAL)
def test_the_image_is_not_changed_and_the_result_is_the_same_again(name):
    volume, _ = blob(noise=10, seed=5)
    before = volume.array.copy()
    segment = segmenter(name, defaults_of(name))
    one, two = segment(volume), segmenter(name, defaults_of(name))(volume)
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(volume.array, before)


def scope_of(name, grid, options):
    kind = METHODS[name].scope
    if kind == "halo":
        halo = import_module(builder_of(name).__module__).halo
        return Scope("halo", halo(grid.spacing_mm, **options))
    return SLICE if kind == "slice" else Scope(kind)


@pytest.mark.parametrize("blocks", [(1, 7, 90), (5, 62, 33), (12, 62, 90)])
@pytest.mark.parametrize("name", BOUNDED)
def test_chunked_equals_whole_for_every_method_with_a_bounded_scope(name, blocks):
    volume, _ = blob(noise=15, seed=2)
    options = defaults_of(name)
    segment = segmenter(name, options)

    def function(block):
        return segment(Volume(block, Grid(block.shape, volume.grid.spacing_mm, (0.0, 0.0, 0.0))))

    whole = segment(volume)
    found = run_blocks(
        volume.array, function, scope=scope_of(name, volume.grid, options), dtype=np.uint8, blocks=blocks
    )
    np.testing.assert_array_equal(found, whole)


def test_there_are_methods_of_each_bounded_scope():
    assert {METHODS[name].scope for name in BOUNDED} == {"halo", "slice"}


def test_a_method_that_must_be_trained_or_does_not_exist_is_refused():
    with pytest.raises(StudyError, match="needs weights"):
        segmenter("unet", {})
    with pytest.raises(SettingsError, match="method 'otsu'"):
        segmenter("otsu", {})


def study(**experiment):
    labels = {"kind": "rtstruct", "structures": {"tumour": "GTV"}}
    return {"study": "s", "cohort": {"source": "d", "labels": labels}, "experiments": {"one": experiment}}


@pytest.mark.parametrize(
    ("experiment", "message"),
    [
        ({"method": "kmeans", "objects": [1, 2]}, "more objects than the labels have classes"),
        ({"method": "hmrf", "levels": 3, "objects": [4]}, "different levels from 1 to 3"),
        ({"method": "kmeans", "window": 4}, "odd"),
        ({"method": "fuzzy_cmeans", "hesitation": "yager", "strength": 2.0}, "at most 1"),
        ({"method": "canny", "low": 0.9, "high": 0.1}, "low must be below high"),
        ({"method": "region_growing", "seeds": "centre", "objects": [1]}, "one seed finds one class"),
        ({"method": "lung", "growth_hu": -800.0}, "growth_hu"),
        ({"method": "lung", "spine_taps": 4}, "odd"),
        ({"method": "drlse", "regularisation": 0.3}, "less than 0.25"),
    ],
)
def test_impossible_settings_stop_before_any_job(experiment, message):
    with pytest.raises(ValueError, match=message):
        Study.model_validate(study(**experiment))


def test_choices_of_the_settings_are_those_of_the_methods():
    from cohortseg.methods import multithreshold
    from cohortseg.methods.fuzzy import GENERATORS
    from cohortseg.methods.regions import REGIONS
    from cohortseg.methods.threshold import RULES

    def choices(method, field):
        return set(get_args(METHOD_SETTINGS[method].model_fields[field].annotation))

    assert choices("threshold", "rule") == {*RULES, "fixed"}
    assert choices("watershed", "rule") == set(RULES)
    assert choices("threshold", "inside") == choices("kmeans", "inside") == set(REGIONS)
    assert choices("multithreshold", "rule") == set(multithreshold.RULES)
    assert choices("fuzzy_cmeans", "hesitation") == {"none", *GENERATORS}


def test_the_table_can_be_read_without_heavy_imports():
    code = (
        "import sys; import cohortseg.methods.learned, cohortseg.postprocess.chain;"
        "heavy = {'SimpleITK', 'torch', 'skimage', 'scipy', 'sklearn', 'edt', 'cc3d', 'dask'};"
        "print(*sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
