"""Put a figure into the page: colours become CSS variables, ids become unique, and the picture gets a name."""

import re
from xml.etree import ElementTree

from markupsafe import Markup

from cohortseg.report.style import PALETTE

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
VARIABLES = {pair[0]: f"var(--{name})" for name, pair in PALETTE.items()}
COLOUR = re.compile(r"#[0-9a-f]{6}")
FAMILY = re.compile(r"font-family:[^;]*")


def inline_svg(svg: bytes, *, name: str, prefix: str) -> Markup:
    """SVG of matplotlib as an element of the page.

    Only attributes are rewritten, never text, so that no name of a case or experiment is changed. Texts take the font
    of the page.

    Parameters
    ----------
    svg : bytes
        From figures.py.
    name : str
        What a screen reader says instead of the picture.
    prefix : str
        Put before each id; unique on the page.
    """
    root = ElementTree.fromstring(svg)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _attribute(key, value, prefix))
    for definitions in root.findall(f"{{{SVG}}}defs"):
        for style in definitions.findall(f"{{{SVG}}}style"):
            definitions.remove(style)  # its one rule has the selector `*` and would reach the whole page
    root.set("stroke-linejoin", "round")
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", name)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return Markup(ElementTree.tostring(root, encoding="unicode"))


def _attribute(key: str, value: str, prefix: str) -> str:
    """One attribute with its ids prefixed and its palette colours as variables."""
    if key == "id":
        return f"{prefix}-{value}"
    if key in ("href", f"{{{XLINK}}}href") and value.startswith("#"):
        return f"#{prefix}-{value[1:]}"
    if key in ("style", "clip-path", "fill", "stroke"):
        value = value.replace("url(#", f"url(#{prefix}-")
        value = COLOUR.sub(lambda match: VARIABLES.get(match.group(), match.group()), value)
        return FAMILY.sub("font-family: inherit", value)
    return value
