"""Settings from plain values, and one line a user can act on for each thing that is wrong."""

import re
from typing import Any

from pydantic import BaseModel, ValidationError

from cohortseg.errors import SettingsError
from cohortseg.settings.methods import METHOD_SETTINGS
from cohortseg.settings.study import Study
from cohortseg.settings.tune import TuneSettings

PLAIN: dict[str, str] = {
    "string_pattern_mismatch": "small letters, digits, - and _ only, 48 at most, a letter or digit first",
    **dict.fromkeys(("int_parsing", "int_type", "int_from_float"), "should be a whole number"),
    **dict.fromkeys(("float_parsing", "float_type"), "should be a number"),
    **dict.fromkeys(("bool_parsing", "bool_type"), "should be true or false"),
    **dict.fromkeys(("model_attributes_type", "model_type", "dict_type"), "needs settings below it, key: value"),
}
"""Kind of a finding of pydantic: what it says to a user."""


def load_study(values: dict[str, Any]) -> Study:
    """Settings from plain values (YAML).

    Raises
    ------
    SettingsError
        One line: key, value and choices of each thing that is wrong.
    """
    try:
        study = Study.model_validate(values)
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(detail) for detail in error.errors())) from None
    return study


def _sentence(detail: Any) -> str:
    """One finding of pydantic as `key: what is wrong (got value)`."""
    key = ".".join(str(part) for part in _user_keys(detail["loc"]))
    kind, value = detail["type"], detail.get("input")
    if kind == "extra_forbidden":
        return f"{key}: unknown key; {_known_keys(detail['loc'])}"
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        return f"{key}.method: {context['tag']!r} is not available; choices: {context['expected_tags']}"
    if kind == "union_tag_not_found":
        return f"{key}.method: missing; choices: {', '.join(sorted(METHOD_SETTINGS))}"
    if kind == "missing":
        return f"{key}: missing"
    message = PLAIN.get(kind, detail["msg"].removeprefix("Value error, "))
    if not key:
        # The study as a whole: the message begins with the key.
        return str(message)
    return f"{key}: {message}" if isinstance(value, dict) else f"{key}: {message} (got {value!r})"


def _user_keys(location: tuple[Any, ...]) -> list[Any]:
    """The keys the user wrote: pydantic adds the branch it tried of a union, and a mark to a bad key."""
    keys = list(location)
    if keys[:1] == ["experiments"] and keys[2:] and keys[2] in METHOD_SETTINGS:
        del keys[2]
    if keys[:3] == ["cohort", "labels", "structures"]:
        # A single pattern stands for a list of one.
        del keys[4:]
    if keys[:1] == ["tune"] and keys[2:3] == ["space"]:
        # Limits or a list of values.
        del keys[4:5]
    if keys and re.fullmatch(r"\[key\]|literal\[.*\]|constrained-(int|float)", str(keys[-1])):
        del keys[-1]
    return keys


def _known_keys(location: tuple[Any, ...]) -> str:
    """The keys that would have been right where a stranger stands."""
    model: Any = Study
    for depth, part in enumerate(location[:-1]):
        if depth == 2 and location[0] == "experiments":
            model = METHOD_SETTINGS[part]
        elif depth == 1 and location[0] == "tune":
            model = TuneSettings
        elif isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields:
            model = model.model_fields[part].annotation
    if isinstance(model, type) and issubclass(model, BaseModel):
        return f"choices: {', '.join(sorted(model.model_fields))}"
    return "see config/README.md"
