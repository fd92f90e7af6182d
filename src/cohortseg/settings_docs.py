"""The files in `config/` that are generated from the settings: JSON schema, commented defaults, tables."""

import json
import types
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from cohortseg.settings import METHOD_SETTINGS, InstanceSettings, Range, Study, SynthesisSettings, TuneSettings
from cohortseg.settings.networks import NETWORK_SETTINGS

OF_IMAGES = ("intensity",)
"""Methods of studies that make images: `default.yaml` is one that makes labels."""
HEAD = """# Settings

Generated from `src/cohortseg/settings/` by `cohortseg settings --write config`; a test holds it in sync.

A config file is one study. `snakemake --cores all --configfile config/sarcoma.yaml` runs it; without `--configfile` the
demo of `config.yaml` runs. An unknown key or a wrong value stops everything before the first job, with a line that
names the key, the value and the choices. `default.yaml` shows every key with its default; `schema.json` gives editors
completion: begin your file with `# yaml-language-server: $schema=schema.json`.

Memory, threads, partitions and GPUs are not here: they belong to the machine and stand in a profile
(`workflow/profiles/slurm`).
"""


def generated_files() -> dict[str, str]:
    """File name to text."""
    schema = json.dumps(Study.model_json_schema(), indent=1, sort_keys=True, ensure_ascii=False)
    return {"schema.json": schema + "\n", "default.yaml": default_yaml(), "README.md": HEAD + "".join(_tables())}


def default_yaml() -> str:
    """Every key with its default and its description; required keys are marked."""
    lines = ["# Generated: every key with its default. Copy what you change into a file of your own."]
    lines += _yaml_part(Study, 0)
    return "\n".join(lines) + "\n"


def _yaml_part(model: type[BaseModel], depth: int, *, skip: tuple[str, ...] = ()) -> list[str]:
    lines: list[str] = []
    indent = "  " * depth
    for name, field in model.model_fields.items():
        if name in skip:
            continue
        lines.append(f"{indent}# {field.description or ''}".rstrip())
        part = _part_of(field.annotation)
        if name == "experiments":
            lines.append(f"{indent}experiments:")
            for method, settings in METHOD_SETTINGS.items():
                if method in OF_IMAGES:
                    continue
                lines += [f"{indent}  my-{method}:", f"{indent}    method: {method}"]
                lines += _yaml_part(settings, depth + 2, skip=("method",))
        elif part is not None:
            lines += [f"{indent}{name}:", *_yaml_part(part, depth + 1)]
        else:
            lines.append(f"{indent}{name}: {_value(field)}")
    return lines


def _value(field: Any) -> str:
    default = _default(field)
    return "  # required" if default is PydanticUndefined else json.dumps(default, default=str, ensure_ascii=False)


def _default(field: Any) -> Any:
    return field.default_factory() if field.default_factory is not None else field.default


def _part_of(annotation: Any) -> type[BaseModel] | None:
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _tables() -> list[str]:
    """One Markdown table for each group of settings."""
    tables = [_table("Top level", Study, skip_parts=True)]
    tables += _part_tables(Study, "")
    tables.append(_table("instances, where it is not empty", InstanceSettings))
    tables.append(_table("synthesis, where it is not empty", SynthesisSettings))
    tables += [_table(f"experiments.NAME with `method: {name}`", model) for name, model in METHOD_SETTINGS.items()]
    for network in NETWORK_SETTINGS:
        names = " or ".join(f"`{name}`" for name in get_args(network.model_fields["name"].annotation))
        tables.append(_table(f"experiments.NAME.architecture with `name:` {names}", network))
    return [*tables, _table("tune.NAME", TuneSettings), _table("tune.NAME.space.SETTING", Range)]


def _part_tables(model: type[BaseModel], prefix: str) -> list[str]:
    tables = []
    for name, field in model.model_fields.items():
        part = _part_of(field.annotation)
        if part is not None:
            tables.append(_table(f"{prefix}{name}", part, skip_parts=True))
            tables += _part_tables(part, f"{prefix}{name}.")
    return tables


def _table(title: str, model: type[BaseModel], *, skip_parts: bool = False) -> str:
    lines = [
        f"\n## {title}\n",
        (model.__doc__ or "").strip(),
        "",
        "| key | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, field in model.model_fields.items():
        if skip_parts and _part_of(field.annotation) is not None:
            continue
        kind = _kind(field.annotation).replace("|", "or")
        default = _default(field)
        shown = (
            "required" if default is PydanticUndefined else f"`{json.dumps(default, default=str, ensure_ascii=False)}`"
        )
        lines.append(f"| `{name}` | {kind} | {shown} | {field.description or ''} |")
    return "\n".join(lines) + "\n"


def _kind(annotation: Any) -> str:
    """A type in a user's words."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if annotation is type(None):
        return "empty"
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_kind(argument) for argument in arguments))
    if isinstance(annotation, type) and hasattr(annotation, "_fields"):
        return f"list of {', '.join(annotation._fields)}"
    if origin in (list, tuple, dict):
        inside = ", ".join("…" if argument is Ellipsis else _kind(argument) for argument in arguments)
        return f"{ {list: 'list', tuple: 'list', dict: 'map'}[origin] } of {inside}"
    if str(origin) == "typing.Annotated" or (origin is not None and hasattr(annotation, "__metadata__")):
        return _kind(arguments[0])
    if arguments:
        return " | ".join(f"`{argument}`" for argument in arguments)
    return {"str": "text", "int": "whole number", "float": "number", "bool": "true | false", "Path": "path"}.get(
        getattr(annotation, "__name__", ""), getattr(annotation, "__name__", str(annotation))
    )
