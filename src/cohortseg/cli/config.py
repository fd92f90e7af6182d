"""Read a config file."""

from pathlib import Path

import yaml

from cohortseg.errors import SettingsError
from cohortseg.settings import Study, load_study


def load_config(path: Path) -> Study:
    """The settings in a YAML file.

    Raises
    ------
    SettingsError
        When the file is missing, no YAML, or holds wrong settings.
    """
    try:
        values = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise SettingsError(f"no such config file: {path}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no settings")
    return load_study(values)
