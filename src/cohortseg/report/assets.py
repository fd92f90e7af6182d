"""Templates filled in: all from outside escaped, style and script inside the page, a policy that allows no other."""

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from cohortseg.report.numbers import number
from cohortseg.report.style import css_variables


def fill(template: str, **values: object) -> str:
    """A template of this folder as text.

    Parameters
    ----------
    template : str
        Name of the file. It may use `style`, `script` and `script_digest`, the filter `n` for counts, and `values`.

    Returns
    -------
    str
        HTML for a file that opens from a disk without network.
    """
    environment = Environment(
        autoescape=True,
        loader=FunctionLoader(_part),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["n"] = lambda value: number(value, 0)
    script = _part("page.js")
    return environment.get_template(template).render(
        script=Markup(script),
        script_digest=b64encode(sha256(script.encode()).digest()).decode("ascii"),
        style=Markup(css_variables() + _part("page.css")),
        **values,
    )


def _part(name: str) -> str:
    """A file that lies beside this one in the package."""
    return files("cohortseg.report").joinpath(name).read_text(encoding="utf-8")
