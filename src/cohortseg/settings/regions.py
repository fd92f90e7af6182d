"""Regions: unions of classes, which may lie in each other as whole tumour, core and enhancing part do."""

from collections.abc import Mapping, Sequence


def check_regions(regions: Mapping[str, Sequence[str]], classes: Sequence[str]) -> None:
    """Refuse regions that no label could be asked for.

    Raises
    ------
    ValueError
        For an empty region, an unknown class, one named twice, a region with the name of a class that it is not, or
        two regions of the same classes.
    """
    seen: dict[frozenset[str], str] = {}
    for name, members in regions.items():
        strangers = [member for member in members if member not in classes]
        if strangers or not members:
            found = f"no class {strangers[0]!r}" if strangers else "names no class"
            raise ValueError(f"regions.{name}: {found}; choices: {', '.join(classes)}")
        if len(set(members)) < len(members):
            raise ValueError(f"regions.{name}: a class is named twice")
        if name in classes and list(members) != [name]:
            raise ValueError(f"regions.{name}: has the name of a class, but is another; give it its own name")
        twin = seen.setdefault(frozenset(members), name)
        if twin != name:
            raise ValueError(f"regions.{name}: is the same as {twin!r}")


def labels_of(classes: Sequence[str], regions: Mapping[str, Sequence[str]]) -> dict[str, list[int]]:
    """Everything that is scored, by name the class numbers it holds: the classes, then the regions that are no class.

    Examples
    --------
    >>> labels_of(["oedema", "core"], {"whole": ["oedema", "core"], "core": ["core"]})
    {'oedema': [1], 'core': [2], 'whole': [1, 2]}
    """
    numbers = {name: number for number, name in enumerate(classes, start=1)}
    found = {name: [number] for name, number in numbers.items()}
    return found | {name: [numbers[one] for one in own] for name, own in regions.items() if name not in found}


def decoded_as(regions: Mapping[str, Sequence[str]], classes: Sequence[str]) -> list[str]:
    """The class that each region's voxels get when regions are written over each other in order.

    It is the one class of a region that no later region holds. So the regions of a label, written in order, give that
    very label again.

    Raises
    ------
    ValueError
        When a region has no such class or several, or a class is in no region's turn.

    Examples
    --------
    >>> decoded_as({"whole": ["oedema", "core", "active"], "inner": ["core", "active"], "active": ["active"]},
    ...            ["oedema", "core", "active"])
    ['oedema', 'core', 'active']
    """
    names, found = list(regions), []
    for place, name in enumerate(names):
        later = {member for other in names[place + 1 :] for member in regions[other]}
        own = [member for member in regions[name] if member not in later]
        if len(own) != 1:
            many = f"{', '.join(own)} are" if own else "none is"
            raise ValueError(
                f"regions.{name}: networks that learn regions decode each to the one class that no later region holds, "
                f"here {many} such; name the outer regions first, and a region for each class"
            )
        found += own
    missing = [name for name in classes if name not in found]
    if missing:
        raise ValueError(f"regions: class {missing[0]!r} is in none, networks that learn regions would never find it")
    return found
