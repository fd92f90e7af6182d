"""UIDs that depend on nothing but what they name: of new objects, and in place of those of a source.

All stand under 2.25, followed by a UUID as a number (PS3.5 B.2); the UUID is made of a hash (RFC 9562, version 8).
"""

import hashlib
import hmac
import os
import secrets
import uuid
from pathlib import Path

from cohortseg.errors import StudyError

STANDARD = "1.2.840.10008."
"""UIDs of the standard itself (SOP classes, transfer syntaxes) name no patient."""
KEY_BYTES = 32


def derived_uid(*parts: str) -> str:
    """The UID of an object that is made of these parts; other parts, or the same in another order, give another UID.

    Examples
    --------
    >>> derived_uid("series", "1.2.3") == derived_uid("series", "1.2.3"), len(derived_uid("a")) <= 64
    (True, True)
    """
    # Lengths keep ("ab", "c") and ("a", "bc") apart.
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return _under_2_25(hashlib.sha256(text.encode()).digest())


def remapped(uid: str, key: bytes) -> str:
    """Another UID in place of one of a source, always the same one under the same key.

    Parameters
    ----------
    uid : str
        Trailing blanks and null bytes do not matter. UIDs of the standard itself come back as they are.
    key : bytes
        Secret of a study: without it nobody can tell which UID stands behind which, not even by trying.

    Returns
    -------
    str
        HMAC-SHA256 (RFC 2104) of the UID, cut to 122 bits, under 2.25.

    Raises
    ------
    ValueError
        For an empty UID or key.
    """
    plain = uid.strip(" \0")
    if not plain or not key:
        raise ValueError("a UID and a key are needed")
    if plain.startswith(STANDARD):
        return plain
    return _under_2_25(hmac.new(key, plain.encode(), hashlib.sha256).digest())


def study_key(path: Path) -> bytes:
    """The secret key of a study, made when it is asked for the first time; jobs that ask together get the same one.

    Raises
    ------
    StudyError
        When the file holds something else.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # By chance, not by process: two machines that share a disk may both have a process of this number.
        part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(secrets.token_bytes(KEY_BYTES))
            # A link never replaces: of two jobs at the same moment the second reads the key of the first.
            os.link(part, path)
        except FileExistsError:
            pass
        finally:
            part.unlink(missing_ok=True)
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise StudyError(f"damaged: {path.parent.name}/{path.name} holds {len(key)} of {KEY_BYTES} bytes")
    return key


def _under_2_25(digest: bytes) -> str:
    number = int.from_bytes(digest[:16], "big")
    # Version and variant of a UUID that is made of one's own hash.
    number = number & ~(0xF << 76) | 0x8 << 76
    number = number & ~(0x3 << 62) | 0x2 << 62
    return f"2.25.{uuid.UUID(int=number).int}"
