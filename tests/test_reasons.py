"""The reason codes: each is raised somewhere, tested somewhere and explained to a user."""

import ast
from pathlib import Path

import pytest

import cohortseg
from cohortseg.errors import REASONS, Rejected

SOURCE = Path(cohortseg.__file__).parent
TESTS = Path(__file__).parent


def words_in(path: Path) -> set[str]:
    """The texts that stand as they are in a Python file, docstrings too."""
    nodes = ast.walk(ast.parse(path.read_text()))
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def codes_in(paths) -> set[str]:
    """The reason codes that stand alone as a text in some of these files."""
    return {code for path in paths for code in words_in(path) & REASONS.keys()}


def raised_in(path: Path) -> list[tuple[int, str]]:
    """Line and first argument of every `Rejected(...)` whose code is written out."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    return [
        (call.lineno, call.args[0].value)
        for call in calls
        if getattr(call.func, "id", "") == "Rejected" and call.args and isinstance(call.args[0], ast.Constant)
    ]


# The table itself, and what is said to users about each code, do not count as use.
SOURCES = [path for path in sorted(SOURCE.rglob("*.py")) if path.name not in ("errors.py", "ways_out.py")]


def test_every_code_that_is_raised_exists():
    strangers = [
        f"{path.relative_to(SOURCE)}:{line} {code}"
        for path in SOURCES
        for line, code in raised_in(path)
        if code not in REASONS
    ]
    assert strangers == []


def test_every_code_is_used():
    idle = sorted(REASONS.keys() - codes_in(SOURCES))
    assert idle == [], "no source file raises them: delete them from errors.REASONS"


def test_every_code_is_tested():
    tests = [path for path in sorted(TESTS.rglob("test_*.py")) if path != Path(__file__)]
    untested = sorted(REASONS.keys() - codes_in(tests))
    assert untested == [], "no test names them"


def test_every_code_has_a_way_out_in_the_report():
    from cohortseg.report import ways_out

    told = codes_in([Path(ways_out.__file__)])
    assert sorted(REASONS.keys() - told) == []


@pytest.mark.parametrize("code", sorted(REASONS))
def test_every_code_has_a_meaning_of_one_line(code):
    meaning = REASONS[code]
    assert meaning
    assert "\n" not in meaning
    assert meaning[-1] != "."


def test_an_unknown_code_is_a_bug():
    with pytest.raises(KeyError, match="add it to errors"):
        Rejected("TOO_UGLY", "found so")


def test_a_rejection_survives_the_way_between_processes():
    import pickle

    found = pickle.loads(pickle.dumps(Rejected("TRUNCATED", "7 of 9 kB")))
    assert (type(found), found.reason, found.found, str(found)) == (
        Rejected,
        "TRUNCATED",
        "7 of 9 kB",
        "TRUNCATED: 7 of 9 kB",
    )
