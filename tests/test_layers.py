"""Imports go down: a file knows only what lies on a lower floor, or its own room."""

import ast
from pathlib import Path

import pytest

import cohortseg

HOUSE = Path(cohortseg.__file__).parent

# Names on one floor are neighbours and never import each other; a folder is one room.
FLOORS = (
    {"__init__"},
    {"errors", "volume", "endings", "ignored"},
    {"slices"},
    {"parts"},
    {"choose", "alone", "blocks"},
    {"layout", "settings"},
    {"settings_docs", "stages", "cohort"},
    {"selection", "names", "sizing"},
    {"scans"},
    {"series_facts", "label_links"},
    {"catalogue"},
    {"io", "preprocess", "methods", "postprocess", "metrics", "report", "phantom", "search"},
    {"infer"},
    {"train"},
    {"steps"},
    {"cli", "workflow", "slurm_guard"},
    {"__main__"},
)
FLOOR_OF = {room: number for number, floor in enumerate(FLOORS) for room in floor}
WORKROOMS = ("io", "preprocess", "methods", "postprocess", "metrics", "report", "phantom", "search", "infer", "train")
BASICS = {"errors", "volume", "endings", "ignored", "choose", "slices", "blocks"}
SHARED_STEPS = {
    "arguments",
    "batch",
    "records",
    "units",
    "flow",
    "model_space",
    "pictures",
    "heterogeneity",
    "views",
    "quality",
}
SHARED_STEPS |= {
    "channels",
    "best",
    "chosen",
    "objective",
    "refine",
    "choice_tables",
    "clinical",
    "comparisons",
    "crate",
    "curves",
    "groups",
    "learners",
    "objects",
    "image_pairs",
    "image_pictures",
    "image_tables",
    "evaluate_image",
    "intensity",
    "made_image",
    "preprocess_pair",
    "parquet",
    "trial_table",
    "tuning",
}
SHARED_STEPS |= {"training_log", "training_pieces", "training_team", "beside", "stability_table", "taught"}
SHARED_STEPS |= {
    "detect",
    "detection_tables",
    "panoptic",
    "panoptic_tables",
    "export_objects",
    "describe",
    "type_tables",
}
SHARED_STEPS |= {"block_workers", "postprocess_blocks", "slabbed"}
SHARED_STEPS |= {"loaded", "cascade", "preview"}
COMPOSED = {"trial": {"train", "predict"}, "training_member": {"train"}}
COMPOSED["pseudolabel"] = COMPOSED["crossfit"] = {"predict"}
COMPOSED["stability"] = {"fingerprint", "preprocess", "predict"}
"""A trial of a search is a small training and prediction of its own; one process of a training is the training."""


def parts_of(path: Path) -> tuple[str, ...]:
    """`steps/split.py` -> ("steps", "split")."""
    return path.relative_to(HOUSE).with_suffix("").parts


def imports_in(text: str) -> set[tuple[str, ...]]:
    """The modules of the package that a file imports anywhere, lazily too, as parts below `cohortseg`."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(text)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written in full"
            # `from cohortseg.io import store` imports a module, `from cohortseg import __version__` a value.
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == "cohortseg"}
    return {module_of(parts) for parts in found}


def module_of(parts: tuple[str, ...]) -> tuple[str, ...]:
    """The longest beginning of the parts that is a file or a folder of the package."""
    while parts and not (HOUSE.joinpath(*parts).is_dir() or HOUSE.joinpath(*parts).with_suffix(".py").is_file()):
        parts = parts[:-1]
    return parts or ("__init__",)


def goes_up(importer: tuple[str, ...], imported: tuple[str, ...]) -> bool:
    """Whether an import goes up, or to a neighbour on the same floor."""
    if importer[0] == imported[0]:
        return False
    return FLOOR_OF[imported[0]] >= FLOOR_OF[importer[0]]


FILES = {parts_of(path): imports_in(path.read_text()) for path in sorted(HOUSE.rglob("*.py"))}


def test_every_file_has_a_floor():
    assert {parts[0] for parts in FILES} <= set(FLOOR_OF)


def test_imports_go_down():
    upward = [
        f"{'/'.join(file)} imports {'/'.join(other)}"
        for file, others in FILES.items()
        for other in sorted(others)
        if goes_up(file, other)
    ]
    assert upward == []


@pytest.mark.parametrize(
    ("importer", "imported", "up"),
    [
        (("io", "store"), ("volume",), False),
        (("io", "store"), ("io", "sidecar"), False),
        (("io", "store"), ("metrics", "case"), True),
        (("infer", "sliding"), ("train", "loop"), True),
        (("train", "loop"), ("infer", "sliding"), False),
        (("cohort",), ("stages",), True),
        (("cli", "main"), ("workflow",), True),
    ],
)
def test_the_check_knows_up_from_down(importer, imported, up):
    assert goes_up(importer, imported) == up


def test_the_check_sees_lazy_imports_and_modules_imported_by_name():
    text = "from cohortseg.io import store\ndef f():\n    from cohortseg.train.loop import train\n"
    text += "    import cohortseg.cli.main\n"
    assert imports_in(text) == {("io", "store"), ("train", "loop"), ("cli", "main")}


def test_the_workflow_module_is_for_the_workflow_alone():
    assert [file for file, others in FILES.items() if ("workflow",) in others] == []


def test_workrooms_know_no_settings_and_no_study_folder():
    strangers = [
        f"{'/'.join(file)} imports {'/'.join(other)}"
        for file, others in FILES.items()
        for other in sorted(others)
        if file[0] in WORKROOMS and other[0] not in {*BASICS, *WORKROOMS, "__init__"}
    ]
    assert strangers == []


def test_only_io_and_steps_and_cli_touch_stores():
    users = {file[0] for file, others in FILES.items() if ("io", "store") in others}
    assert users <= {"io", "steps", "cli"}


def test_steps_meet_on_disk_only():
    crossing = [
        f"steps/{file[1]} imports steps/{other[1]}"
        for file, others in FILES.items()
        for other in sorted(others)
        if file[0] == "steps"
        and other[0] == "steps"
        and other[1:]
        and other[1] not in SHARED_STEPS | COMPOSED.get(file[1], set())
    ]
    assert crossing == []


def test_no_room_has_a_drawer_for_odds_and_ends():
    assert not [file for file in FILES if file[-1] in ("utils", "helpers", "common", "misc")]


def test_no_file_is_over_400_lines():
    long = {str(path): n for path in HOUSE.rglob("*.py") if (n := len(path.read_text().splitlines())) > 400}
    assert long == {}


def test_every_file_begins_with_a_docstring():
    silent = [path.name for path in HOUSE.rglob("*.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
