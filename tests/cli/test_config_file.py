"""A config file that cannot be read is refused in one line with the way out."""

import pytest

from cohortseg.cli.config import load_config
from cohortseg.errors import SettingsError


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"study: a\n\tcohort: {}\n", "line 2, column 1: no YAML: found character '\\t' that cannot start any token; "),
        (b"split: {folds: 3\nplan: {dims: 3}\n", "line 2, column 5: no YAML: expected ',' or '}', but got ':'"),
        ("study: größe\n".encode("latin-1"), "no text in UTF-8; save it in that encoding"),
        (b"", "holds no settings"),
        (b"- study\n", "holds no settings"),
    ],
)
def test_the_line_says_where_and_what_to_do(tmp_path, content, said):
    path = tmp_path / "my study.yaml"
    path.write_bytes(content)
    with pytest.raises(SettingsError) as caught:
        load_config(path)
    (line,) = str(caught.value).splitlines()
    assert line.startswith(str(path))
    assert said in line


def test_tabs_are_told_to_be_spaces(tmp_path):
    path = tmp_path / "tabs.yaml"
    path.write_text("study: a\n\tcohort: {}\n")
    with pytest.raises(SettingsError, match="indent with spaces, not tabs"):
        load_config(path)
