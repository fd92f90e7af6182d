"""Settings of a search: what cannot be is refused before anything runs, in one line that names the key."""

import copy

import pytest

from cohortseg.errors import SettingsError
from cohortseg.settings import METHOD_SETTINGS, load_study
from cohortseg.settings.tune import MOST_CORNERS, Range, is_whole
from cohortseg.stages import stage_settings

VALUES = {
    "study": "x",
    "cohort": {"source": ".", "labels": {"structures": {"tumour": "GTV"}}},
    "experiments": {
        "window": {"method": "threshold", "rule": "fixed", "low": 0, "high": 80},
        "net": {"method": "unet", "steps": 100},
        "minutes": {"method": "unet", "minutes": 5},
        "auto": {"method": "unet", "precision": "auto"},
        "levels": {"method": "kmeans"},
    },
}
LIMITS = {"low": {"low": -100, "high": 40}, "high": {"low": 50, "high": 200}}


def study_with(**tune):
    return load_study({**copy.deepcopy(VALUES), "tune": tune})


@pytest.mark.parametrize(
    ("tune", "said"),
    [
        (
            {"nobody": {"space": {"low": [1]}}},
            "tune.nobody: no such experiment; choices: auto, levels",
        ),
        (
            {"window": {"space": {"lwo": [1]}}},
            "tune.window.space.lwo: no setting of the method; choices: high, inside",
        ),
        ({"window": {"spac": {}, "space": LIMITS}}, "tune.window.spac: unknown key; choices: at_once, inner_folds"),
        ({"window": {"space": {}}}, "tune.window.space: Dictionary should have at least 1 item"),
        (
            {"window": {"space": {**LIMITS, "low": {"low": 0, "high": 60}}}},
            "tune.window.space: with low 60, high 50: low must be below high, got 60.0 and 50.0",
        ),
        (
            {"window": {"space": {"rule": ["fixed", "otsu"]}}},
            "tune.window.space: with rule otsu: `low` and `high` go with `rule: fixed`, not with 'otsu'",
        ),
        ({"window": {"space": LIMITS, "steps": 5}}, "tune.window.steps: only where a network is trained"),
        ({"levels": {"space": {"objects": [[1], [1, 2]]}}}, "objects: more objects than the labels have classes"),
        ({"net": {"space": {"loss": ["dice", "dise"]}}}, "tune.net.space: with loss dise: Input should be 'dice_ce'"),
        (
            {"net": {"space": {"batch": {"low": 0, "high": 4}}}},
            "with batch 0: Input should be greater than",
        ),
        ({"net": {"space": {"threshold": [0.5]}}}, "tune.net.space.threshold: not searched: it says how a trained"),
        ({"net": {"space": {"architecture": [None]}}}, "tune.net.space.architecture: not searched: networks of one"),
        ({"window": {"space": {"channel": ["image"]}}}, "tune.window.space.channel: not searched: make one experiment"),
        ({"net": {"space": {"steps": [5, 9]}, "steps": 3}}, "tune.net: `steps` is a part of `space` already"),
        ({"minutes": {"space": {"loss": ["dice"]}}}, "tune.minutes: say `steps` in the experiment, not `minutes`"),
        ({"auto": {"space": {"loss": ["dice"]}}}, "tune.auto: say a `precision` in the experiment, not `auto`"),
        ({"net": {"space": {"batch": [2, 2]}}}, "tune.net: `space.batch` names a value twice"),
        ({"net": {"space": {"batch": []}}}, "tune.net.space.batch: List should have at least 1 item"),
        ({"net": {"space": {"batch": {"low": 2}}}}, "tune.net.space.batch.high: missing"),
        (
            {"net": {"space": {"batch": {"low": 4, "high": 2}}}},
            "space.batch: low must be below high, got 4 and 2",
        ),
        (
            {"net": {"space": {"weight_decay": {"low": 0, "high": 1, "log": True}}}},
            "`log` needs a `low` above 0",
        ),
        ({"net": {"search": "grid", "space": {"batch": {"low": 2, "high": 4}}}}, "a grid needs `points`, or a list"),
        ({"net": {"search": "grid", "trials": 5, "space": {"batch": [2]}}}, "a grid tries each of its points"),
        ({"net": {"space": {"batch": [2]}, "inner_folds": 2, "scored_folds": 3}}, "`scored_folds` is more than"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(tune, said):
    with pytest.raises(SettingsError) as refused:
        study_with(**tune)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_grid_has_the_product_of_its_points_the_last_running_fastest():
    space = {"low": [-10, 0], "high": {"low": 100, "high": 300, "points": 3}}
    search = study_with(window={"search": "grid", "space": space}).tune["window"]
    method = METHOD_SETTINGS["threshold"]
    assert search.n_trials(method) == 6
    assert [tuple(point.values()) for point in search.grid(method)] == [
        *((-10, 100), (-10, 200), (-10, 300)),
        *((0, 100), (0, 200), (0, 300)),
    ]


def test_points_on_a_logarithmic_axis_have_equal_ratios_and_end_exactly_at_the_limits():
    values = Range(low=1e-4, high=1e-1, log=True, points=4).values(is_whole=False)
    assert values == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])
    assert (values[0], values[-1]) == (1e-4, 1e-1)


def test_whole_numbers_stay_whole_and_are_tried_once():
    assert Range(low=2, high=4, points=9).values(is_whole=True) == [2, 3, 4]
    unet = METHOD_SETTINGS["unet"]
    assert [is_whole(unet, name) for name in ("batch", "steps", "learning_rate", "ema_decay")] == [True] * 2 + [
        False
    ] * 2
    search = study_with(net={"space": {"batch": {"low": 2, "high": 8}}}).tune["net"]
    assert [point["batch"] for point in search.corners(unet)] == [2, 8]


def test_a_wide_space_is_checked_at_a_bounded_number_of_corners():
    space = {"low": list(range(-500, 0)), "high": list(range(1, 500))}
    search = study_with(window={"search": "grid", "space": space}).tune["window"]
    assert len(list(search.corners(METHOD_SETTINGS["threshold"]))) == MOST_CORNERS


def test_how_many_trials_there_are_is_no_setting_of_a_trial_but_all_else_is():
    def told(**more):
        return stage_settings(study_with(window={"space": LIMITS, **more}), "trial", "window")

    assert told() == told(trials=5) == told(trials=500)
    assert len({told(), told(seed=2), told(metric="nsd"), told(at_once=2), told(startup=3)}) == 5


def test_a_search_changes_nothing_that_the_other_stages_are_told():
    plain = load_study(copy.deepcopy(VALUES))
    searched = study_with(window={"space": LIMITS})
    for stage in ("convert", "train", "predict", "postprocess", "evaluate", "report"):
        name = "net" if stage == "train" else "window"
        assert stage_settings(plain, stage, name) == stage_settings(searched, stage, name)
