"""The files in `config/` that are made from the settings are fresh, and every example is well formed."""

from pathlib import Path

import pytest
import yaml

from cohortseg.cli.config import load_config
from cohortseg.settings import METHOD_SETTINGS, IntensityMethod, Study
from cohortseg.settings_docs import generated_files

CONFIG = Path(__file__).parents[1] / "config"
EXAMPLES = sorted(path.name for path in CONFIG.glob("*.yaml") if path.name != "default.yaml")


@pytest.mark.parametrize("name", ["schema.json", "default.yaml", "README.md"])
def test_generated_files_are_fresh(name):
    fresh = generated_files()[name] == (CONFIG / name).read_text()
    assert fresh, f"config/{name} is not what the settings say; run `cohortseg settings --write config`"


def test_nothing_else_is_generated():
    assert set(generated_files()) == {"schema.json", "default.yaml", "README.md"}


def test_there_are_examples():
    assert "config.yaml" in EXAMPLES


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_is_well_formed(name):
    study = load_config(CONFIG / name)
    assert study.experiments


@pytest.mark.parametrize("name", EXAMPLES)
def test_every_example_offers_completion_in_editors(name):
    assert (CONFIG / name).read_text().startswith("# yaml-language-server: $schema=schema.json\n")


def test_the_default_config_becomes_well_formed_once_what_is_required_is_filled_in():
    values = yaml.safe_load(generated_files()["default.yaml"])
    values["study"] = "mine"
    values["cohort"]["source"] = "data"
    values["cohort"]["labels"]["structures"] = {"tumour": "GTV.*"}
    study = Study.model_validate(values)
    assert {type(method) for method in study.experiments.values()} == set(METHOD_SETTINGS.values()) - {IntensityMethod}
    # Written out, the defaults are the defaults.
    short = Study.model_validate({key: values[key] for key in ("study", "experiments")} | {"cohort": values["cohort"]})
    assert study == short


def leaves(model, prefix=""):
    for name, field in model.model_fields.items():
        yield f"{prefix}{name}", field
        if isinstance(field.annotation, type) and hasattr(field.annotation, "model_fields"):
            yield from leaves(field.annotation, f"{prefix}{name}.")


def test_every_setting_is_described():
    models = [Study, *METHOD_SETTINGS.values()]
    bare = [name for model in models for name, field in leaves(model) if name != "method" and not field.description]
    assert bare == []


def test_every_setting_stands_in_the_tables():
    text = generated_files()["README.md"]
    for model in (Study, *METHOD_SETTINGS.values()):
        for name, field in leaves(model):
            if not hasattr(field.annotation, "model_fields"):
                assert f"| `{name.rpartition('.')[2]}` |" in text, name
