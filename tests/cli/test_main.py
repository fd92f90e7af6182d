"""The command line: one line for each error, and nothing heavy before it is needed."""

import importlib
import re
import subprocess
import sys
from types import SimpleNamespace

import pytest
from study_by_hand import case_of, study_of

from cohortseg import __version__
from cohortseg.cli import main as cli
from cohortseg.cli.main import COMMANDS, STEPS
from cohortseg.errors import Rejected, SettingsError, StudyError

HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "SimpleITK",
    "matplotlib",
    "skimage",
    "scipy",
    "zarr",
    "pydicom",
    "pydantic",
    "optuna",
)


def call(monkeypatch, *words: str) -> int | str | None:
    """What `cohortseg WORDS` exits with."""
    monkeypatch.setattr(sys, "argv", ["cohortseg", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code


def imported_by(text: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after a piece of code."""
    code = f"import sys\n{text}\nprint(' '.join(sorted(set({HEAVY!r}) & set(sys.modules))), file=sys.stderr)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return set(ended.stderr.split())


# ---- nothing heavy --------------------------------------------------------------------------------------------------


def test_help_imports_nothing_heavy():
    code = """
from cohortseg.cli.main import main
sys.argv = ["cohortseg", "--help"]
try:
    main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
"""
    assert imported_by(code) == set()


def test_the_module_itself_gives_help():
    command = [sys.executable, "-m", "cohortseg", "--help"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0
    assert ended.stdout.startswith("usage: cohortseg COMMAND")
    assert all(f"  {name} " in ended.stdout for name in COMMANDS | STEPS)


def test_only_training_imports_torch_and_only_tables_import_pandas():
    # One interpreter for all of them: each that is named here alone would be enough to show.
    light = [name for name in (COMMANDS | STEPS) if name not in ("train", "aggregate", "report")]
    modules = "\n".join(f"import {(COMMANDS | STEPS)[name].module}" for name in light)
    found = imported_by(modules)
    assert "numpy" in found, "the check sees what is imported"
    assert found & {"torch", "pandas", "SimpleITK", "matplotlib", "skimage", "scipy", "pydicom", "optuna"} == set()


def test_the_workflow_is_parsed_without_arrays_and_samplers():
    modules = "import cohortseg.workflow, cohortseg.steps.tuning, cohortseg.sizing, cohortseg.slurm_guard"
    assert imported_by(modules) <= {"pydantic"}


def test_looking_at_a_study_waits_for_no_package():
    modules = "\n".join(f"import {COMMANDS[name].module}" for name in ("status", "clean", "phantom"))
    assert imported_by(modules) == set()


def test_the_index_reads_headers_without_numpy():
    assert imported_by("import cohortseg.steps.index, cohortseg.cli.index") <= {"pydantic"}


# ---- the table of commands ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(COMMANDS | STEPS))
def test_every_command_is_there_and_its_file_is_called_so(name):
    module_name = (COMMANDS | STEPS)[name].module
    assert module_name == f"cohortseg.{'cli' if name in COMMANDS else 'steps'}.{name.replace('-', '_')}"
    if name in ("train", "aggregate", "report"):
        return  # slow to import; the workflow calls them
    module = importlib.import_module(module_name)
    assert callable(module.run)
    assert callable(module.add_arguments)


def test_no_step_is_a_command_as_well():
    assert not COMMANDS.keys() & STEPS.keys()


def test_every_step_has_a_stage_with_settings():
    from cohortseg.stages import STAGES

    # They only gather: they have no settings and no revision of their own.
    assert STEPS.keys() - STAGES.keys() == {"survey", "tune"}
    assert STAGES.keys() <= STEPS.keys()


# ---- exits ----------------------------------------------------------------------------------------------------------


def test_no_command_shows_the_help_and_counts_as_wrong(monkeypatch, capsys):
    assert call(monkeypatch) == 2
    assert "usage: cohortseg COMMAND" in capsys.readouterr().out


def test_the_version_is_told(monkeypatch, capsys):
    assert call(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"cohortseg {__version__}\n"


def test_an_unknown_command_names_the_choices(monkeypatch, capsys):
    assert call(monkeypatch, "convrt") == 2
    line = capsys.readouterr().err
    assert line.startswith("cohortseg: unknown command 'convrt'; choices: demo, phantom, index")
    assert line.count("\n") == 1


def test_wrong_arguments_exit_with_2(monkeypatch, capsys):
    assert call(monkeypatch, "convert", "--study") == 2
    assert "usage: cohortseg convert" in capsys.readouterr().err


def test_help_of_a_command_exits_with_0(monkeypatch, capsys):
    assert call(monkeypatch, "clean", "--help") == 0
    assert COMMANDS["clean"].summary in " ".join(capsys.readouterr().out.split())


@pytest.fixture
def failing(monkeypatch):
    """Let the command `clean` raise something."""

    def raise_in_clean(error):
        def run(arguments):
            raise error

        module = SimpleNamespace(add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr(importlib, "import_module", lambda name: module)

    return raise_in_clean


@pytest.mark.parametrize(
    "error", [StudyError("no study here"), SettingsError("split.folds: 1"), Rejected("TRUNCATED", "7 of 9 kB")]
)
def test_a_known_error_is_one_line(monkeypatch, failing, error):
    failing(error)
    assert call(monkeypatch, "clean") == f"cohortseg clean: {error}"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError(2, "No such file or directory", "/data/Doe^Jane/x.tsv"), "No such file or directory: x.tsv"),
        (OSError(28, "No space left on device"), "No space left on device: (no file named)"),
        (OSError("odd"), "odd: (no file named)"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_without_the_path(monkeypatch, failing, error, said):
    failing(error)
    assert call(monkeypatch, "clean") == f"cohortseg clean: {said}"


def test_a_bug_keeps_its_traceback(monkeypatch, failing):
    failing(ZeroDivisionError())
    monkeypatch.setattr(sys, "argv", ["cohortseg", "clean"])
    with pytest.raises(ZeroDivisionError):
        cli.main()


def test_a_reader_that_has_gone_is_no_matter(tmp_path):
    # `cohortseg status STUDY | head -0`
    study_of(tmp_path, case_of("p1_ct1"))
    command = [sys.executable, "-m", "cohortseg", "status", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        process.stdout.close()
        said = process.stderr.read()
    assert said == ""


def test_a_config_file_is_checked_by_name(monkeypatch, tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    assert re.match(r"cohortseg settings: no such config file: ", str(call(monkeypatch, "settings", str(path))))
    path.write_text("study: [")
    assert re.match(
        r"cohortseg settings: .*mine\.yaml, line 1, column 9: no YAML: ", str(call(monkeypatch, "settings", str(path)))
    )
    path.write_text("nothing")
    assert str(call(monkeypatch, "settings", str(path))).endswith("mine.yaml holds no settings")
    path.write_text("study: a")
    assert call(monkeypatch, "settings", str(path)) == "cohortseg settings: cohort: missing; experiments: missing"
    text = "study: a\ncohort: {source: x, labels: {structures: {t: T}}}\nexperiments: {o: {method: threshold}}\n"
    path.write_text(text)
    assert call(monkeypatch, "settings", str(path)) == 0
    assert "study a, 1 experiments: well formed" in capsys.readouterr().err
