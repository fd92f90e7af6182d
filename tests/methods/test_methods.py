import subprocess
import sys
from typing import get_args

import numpy as np

from cohortseg.methods import METHODS
from cohortseg.settings import METHOD_SETTINGS, ThresholdMethod
from cohortseg.volume import Grid, Volume


def test_every_method_of_the_settings_is_in_the_table():
    assert set(METHODS) == set(METHOD_SETTINGS)


def test_every_entry_says_where_it_comes_from_and_what_it_is():
    for entry in METHODS.values():
        assert entry.source
        assert entry.summary
        assert set(entry.dims) <= {2, 3}


def test_a_method_needs_weights_or_can_be_loaded():
    for entry in METHODS.values():
        assert entry.needs_weights == (entry.load is None)


def test_the_defaults_of_the_settings_build_a_segmenter():
    # The step picks the channel.
    values = ThresholdMethod(method="threshold").model_dump(exclude={"method", "channel"})
    load = METHODS["threshold"].load
    assert load is not None
    image = np.zeros((3, 5, 4), np.int16)
    image[1, 2:4, 1] = 50
    found = load()(**values)(Volume(image, Grid(image.shape, (3.0, 1.0, 2.0), (0.0, 0.0, 0.0))))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, image > 0)


def test_rules_and_regions_of_the_settings_are_those_of_the_method():
    from cohortseg.methods.regions import REGIONS
    from cohortseg.methods.threshold import RULES

    fields = ThresholdMethod.model_fields
    assert set(get_args(fields["rule"].annotation)) == {*RULES, "fixed"}
    assert set(get_args(fields["inside"].annotation)) == set(REGIONS)


def test_the_table_can_be_read_without_heavy_imports():
    code = (
        "import sys; import cohortseg.methods, cohortseg.postprocess.chain;"
        "print(*sorted({'SimpleITK', 'torch', 'skimage', 'scipy', 'edt', 'cc3d', 'dask'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
