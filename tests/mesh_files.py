"""STL and PLY files read as their descriptions say, and what makes a mesh closed; nothing of the code under test."""

from collections import Counter

import numpy as np


def read_stl(path) -> tuple[bytes, np.ndarray, np.ndarray]:
    """Head, normals (m, 3) and corners (m, 3, 3) of a binary STL: 80 bytes, a count, 50 bytes each."""
    data = path.read_bytes()
    count = int.from_bytes(data[80:84], "little")
    assert len(data) == 84 + 50 * count
    rows = np.frombuffer(data, np.uint8, offset=84).reshape(count, 50)[:, :48].copy()
    numbers = rows.view("<f4").reshape(count, 4, 3).astype(float)
    return data[:80], numbers[:, 0], numbers[:, 1:]


def read_ply(path) -> tuple[str, np.ndarray, np.ndarray]:
    """Head, vertices (n, 3) and faces (m, 3) of a binary little-endian PLY."""
    head, data = path.read_bytes().split(b"end_header\n", 1)
    lines = head.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    counts = {words[1]: int(words[2]) for line in lines if (words := line.split())[0] == "element"}
    size = 12 * counts["vertex"]
    vertices = np.frombuffer(data[:size], "<f4").reshape(-1, 3).astype(float)
    rows = np.frombuffer(data[size:], np.uint8).reshape(counts["face"], 13)
    assert (rows[:, 0] == 3).all()
    return head.decode("ascii"), vertices, rows[:, 1:].copy().view("<i4")


def directed_edges(faces: np.ndarray) -> Counter:
    return Counter((int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))


def is_closed(faces: np.ndarray) -> bool:
    """Every edge is there once in each direction: closed, and all triangles the same way round."""
    edges = directed_edges(faces)
    return all(n == 1 and edges[b, a] == 1 for (a, b), n in list(edges.items()))


def volume_of(corners: np.ndarray) -> float:
    """Signed volume of triangles (m, 3, 3) by the divergence theorem; positive when they face outwards."""
    a, b, c = (corners - corners.reshape(-1, 3).mean(axis=0)).transpose(1, 0, 2)
    return float(np.einsum("ij,ij->", a, np.cross(b, c)) / 6)
