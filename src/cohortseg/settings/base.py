"""What all settings are made of: names, positive numbers, patterns, and a group of settings."""

import re
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

Name: TypeAlias = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,47}$")]
Positive: TypeAlias = Annotated[float, Field(gt=0)]
NotNegative: TypeAlias = Annotated[float, Field(ge=0)]
Spacing: TypeAlias = tuple[Positive, Positive, Positive]


def _compiles(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from error
    return pattern


Pattern: TypeAlias = Annotated[str, AfterValidator(_compiles)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Patterns: TypeAlias = Annotated[
    list[Pattern], Field(min_length=1), BeforeValidator(_listed, json_schema_input_type=str | list[str])
]


LABELS_FROM = (
    "learn from what another experiment finds on the training cases instead of their references; of one that is "
    "trained itself: from its model of the same fold, so held-out cases stay unseen (docs/tasks.md)"
)
REFERENCE_SHARE = "with `labels_from`: share of the subjects that keep their reference labels"


def is_none(value: Any) -> bool:
    """Whether a setting says nothing: left out of the texts that decide what is made again (`exclude_if`)."""
    return value is None


class Part(BaseModel):
    """A group of settings: immutable, numbers finite, and a stranger among the keys is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
