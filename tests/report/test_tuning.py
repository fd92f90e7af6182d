"""Searches in the report: what was tried and chosen, failed trials with their reason; so does the methods text."""

from dataclasses import replace

import pandas as pd
from report_content import full_content, study_settings, trials_table
from test_methods_text import FACTS, text_of

from cohortseg.report.tuning import searches
from cohortseg.settings import load_study

SPACE = {"learning_rate": {"low": 1e-4, "high": 0.3, "log": True}, "loss": ["dice", "focal"]}


def texts(table):
    return [[cell.text for cell in row] for row in table.rows]


def test_each_fold_is_shown_with_what_it_chose_and_the_score_that_chose_it():
    (search,) = searches(full_content())
    assert search.experiment == "unet2d"
    assert [name for name, _ in search.folds] == ["fold 0", "fold 1"]
    assert [column.title for column in search.chosen.columns][:2] == ["Fold", "Trial"]
    assert texts(search.chosen) == [
        ["0", "2", "0.720", "0.555", "3", "0.0004", "dice"],
        ["1", "1", "0.700", "0.600", "3", "0.001", "dice"],
    ]


def test_trials_are_listed_from_the_best_down_and_a_failed_one_says_why():
    (search,) = searches(full_content())
    listed = texts(search.trials)
    assert [row[2] for row in listed] == ["0.720", "0.700", "0.610", "0.600", "0.550", "0.500", "0.100", "–"]
    assert listed[-1][-1] == "the loss is no longer finite at step 7"
    assert "1 trial failed and counted as 0" in search.words
    strong = [row[0].text for row in search.trials.rows if row[2].is_strong]
    assert strong == ["0", "1"]


def test_without_failures_there_is_no_column_for_them():
    table = trials_table()
    (search,) = searches(full_content(tables={"trials": table[table["fold"] == 0]}))
    assert [column.title for column in search.trials.columns] == ["Fold", "Trial", "Dice", "learning_rate", "loss"]


def test_numbers_are_drawn_and_words_are_not():
    (search,) = searches(full_content())
    assert [title for title, _ in search.plots] == [
        "Dice of each trial; line: the best so far",
        "Dice against learning_rate",
    ]
    assert all(b"<svg" in svg for _, svg in search.plots)


def test_a_study_without_searches_shows_none():
    assert searches(full_content(tables={})) == []
    assert searches(full_content(tables={"trials": pd.DataFrame(columns=trials_table().columns)})) == []


def test_folds_that_were_read_back_as_numbers_keep_their_names():
    table = trials_table().assign(fold=lambda t: t["fold"].astype(float))
    (search,) = searches(full_content(tables={"trials": table}))
    assert [name for name, _ in search.folds] == ["fold 0", "fold 1"]


def settings_with(**search):
    values = {**study_settings(), "tune": {"unet2d": {"space": SPACE, **search}}}
    return text_of(replace(FACTS, settings=load_study(values).model_dump(mode="json")))


def test_the_methods_text_says_what_was_searched_how_and_on_which_cases():
    text = settings_with(trials=12, steps=200)
    assert "settings of experiment “unet2d” were chosen in each fold by Bayesian search" in text
    assert "(Bergstra et al. 2011; Akiba et al. 2019) in 12 trials" in text
    assert "learning_rate from 0.0001 to 0.3, on a logarithmic scale; loss of dice, focal." in text
    assert "mean Dice after 200 steps on 1 of 4 inner folds of the training cases of the fold" in text


def test_the_methods_text_names_the_default_number_of_trials_and_none_for_a_grid():
    assert "in 20 trials:" in settings_with(search="random")
    space = {"learning_rate": [1e-3, 3e-3]}
    text = settings_with(search="grid", space=space)
    assert "by trying each point of a grid: learning_rate of 0.001, 0.003." in text


def test_the_default_number_of_trials_is_that_of_the_settings():
    from cohortseg.report.tuning_text import DEFAULT_TRIALS
    from cohortseg.settings import tune

    assert DEFAULT_TRIALS == tune.DEFAULT_TRIALS
