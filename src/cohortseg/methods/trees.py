"""A fitted forest as arrays of numbers, and its way back to scikit-learn's trees, which are quick.

No pickle is read: the trees are filled with arrays that were checked first, because scikit-learn follows the numbers of
the nodes without looking whether they exist.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from cohortseg.errors import StudyError

Arrays: TypeAlias = dict[str, npt.NDArray[Any]]
Floats: TypeAlias = npt.NDArray[np.float32]

GROUP = 16_384
"""Rows that go through all trees before the next ones do: few enough to stay in the cache of a core."""


def as_arrays(trees: Sequence[Any]) -> Arrays:
    """Nodes of scikit-learn's trees in one row, each tree after the other.

    Returns
    -------
    children : int32 array, shape (2, nodes)
        Left and right; -1 at a leaf. Numbers count over all trees.
    feature, limit : arrays, shape (nodes,)
        Up to and including the limit the way goes left.
    share : float32 array, shape (nodes, classes)
    roots : int32 array, shape (trees,)
    """
    sizes = np.cumsum([0, *(tree.node_count for tree in trees)])
    shifted = [
        np.stack([np.where(child < 0, -1, child + first) for child in (tree.children_left, tree.children_right)])
        for tree, first in zip(trees, sizes[:-1], strict=True)
    ]
    return {
        "children": np.concatenate(shifted, axis=1).astype(np.int32),
        "feature": np.concatenate([tree.feature for tree in trees]).astype(np.int32),
        "limit": np.concatenate([tree.threshold for tree in trees]).astype(np.float64),
        "share": np.concatenate([tree.value[:, 0] for tree in trees]).astype(np.float32),
        "roots": sizes[:-1].astype(np.int32),
    }


def check(model: Arrays, n_features: int) -> None:
    """See that every node leads on to later nodes of its own tree, and asks for a feature that there is.

    Raises
    ------
    StudyError
        When a tree leaves its nodes, goes round, or asks for a feature beyond the last.
    """
    roots, children, feature = model["roots"], model["children"], model["feature"]
    n = feature.size
    whole = (
        children.shape == (2, n)
        and model["limit"].shape == (n,)
        and model["share"].ndim == 2
        and len(model["share"]) == n
        and roots.ndim == 1
        and roots.size > 0
        and roots[0] == 0
        and bool((np.diff([*roots, n]) > 0).all())
    )
    if whole:
        number = np.arange(n)
        end = np.repeat([*roots[1:], n], np.diff([*roots, n]))
        leaf = (children == -1).all(axis=0)
        inner = ((children > number) & (children < end)).all(axis=0) & (feature >= 0) & (feature < n_features)
        whole = bool((leaf | inner).all())
    if not whole:
        raise StudyError("the arrays of a forest are damaged: delete its fold in the study folder and run again")


def grown(model: Arrays, n_features: int) -> list[Any]:
    """Trees of scikit-learn from the arrays of `as_arrays`; what is not a number goes left.

    Raises
    ------
    StudyError
        See `check`.
    """
    from sklearn.tree._tree import NODE_DTYPE, Tree

    check(model, n_features)
    n_classes = model["share"].shape[1]
    trees = []
    for first, end in np.stack([model["roots"], [*model["roots"][1:], model["feature"].size]], axis=1):
        nodes = np.zeros(end - first, NODE_DTYPE)
        left, right = model["children"][:, first:end]
        nodes["left_child"] = np.where(left < 0, -1, left - first)
        nodes["right_child"] = np.where(right < 0, -1, right - first)
        nodes["feature"], nodes["threshold"] = model["feature"][first:end], model["limit"][first:end]
        nodes["missing_go_to_left"] = 1
        tree = Tree(n_features, np.array([n_classes], dtype=np.intp), 1)
        values = np.ascontiguousarray(model["share"][first:end, None], dtype=np.float64)
        tree.__setstate__({"max_depth": 0, "node_count": len(nodes), "nodes": nodes, "values": values})
        trees.append(tree)
    return trees


def shares(model: Arrays, rows: Floats) -> Floats:
    """Mean share of each class over the trees, shape (rows, classes).

    Parameters
    ----------
    model : dict of arrays
        See `as_arrays`.
    rows : float32 array, shape (rows, features)

    Raises
    ------
    StudyError
        See `check`.
    """
    trees = grown(model, rows.shape[1])
    leaves = [model["share"][root:end] for root, end in zip(model["roots"], [*model["roots"][1:], None], strict=True)]
    total = np.zeros((len(rows), model["share"].shape[1]), np.float32)
    for first in range(0, len(rows), GROUP):
        part = np.ascontiguousarray(rows[first : first + GROUP])
        for tree, leaf in zip(trees, leaves, strict=True):
            total[first : first + GROUP] += leaf.take(tree.apply(part), axis=0)
    return total / np.float32(len(trees))
