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
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SettingsError(f"no such config file: {path}") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} is no text in UTF-8; save it in that encoding") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        hint = "; indent with spaces, not tabs" if "'\\t'" in str(error.problem) else ""
        raise SettingsError(f"{path}{where}: no YAML: {error.problem}{hint}") from None
    except yaml.YAMLError as error:
        raise SettingsError(f"{path} is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise SettingsError(f"{path} holds no settings")
    return load_study(values)
