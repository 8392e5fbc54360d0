"""What people and programs see: nothing raw from strangers reaches a terminal.

Keys, values and names are bytes from anywhere. For people they are written as text in which
everything that does not print is escaped byte by byte, ``\\x1b``, and a backslash is ``\\\\``; so
the text can be read back (`unescaped`). For programs they are JSON: a string where the bytes are
UTF-8, else ``{"base64": "…"}``; JSON output is ASCII, control characters included.
"""

import base64
import json
import re
import sys
from collections.abc import Mapping

from replicator.errors import UsageError

_SHORT = {"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"}
_LONG = {text[1]: character for character, text in _SHORT.items()}
_ESCAPE = re.compile(r"\\(?:x([0-9a-fA-F]{2})|([\\tnr])|)")


def escaped(data: bytes | str) -> str:
    """Bytes as printable text, one line. Text that is not UTF-8 is escaped as well."""
    text = data if isinstance(data, str) else data.decode(errors="surrogateescape")
    if text.isprintable() and "\\" not in text:
        return text
    return "".join(
        character if character.isprintable() and character != "\\" else _escape(character)
        for character in text
    )


def unescaped(text: str) -> bytes:
    """The bytes that `escaped` wrote, or a person by the same rules.

    Raises:
        UsageError: a backslash is followed by something else.
    """
    return b"".join(_pieces(text))


def jsonable(value: object) -> object:
    """A reply of the daemon as what `json` can write."""
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return {"base64": base64.b64encode(value).decode()}
    if isinstance(value, Mapping):
        return {_name(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def print_json(value: object) -> None:
    """Write one JSON document on a line of its own."""
    sys.stdout.write(json.dumps(jsonable(value)) + "\n")


def complain(text: str) -> None:
    """Write a line to standard error, safe for a terminal."""
    lines = (escaped(line).replace(r"\\", "\\") for line in text.split("\n"))
    sys.stderr.write("replicator: " + "\n".join(lines) + "\n")


def _escape(character: str) -> str:
    return _SHORT.get(character) or "".join(
        f"\\x{byte:02x}" for byte in character.encode(errors="surrogateescape")
    )


def _name(key: object) -> str:
    return key.decode(errors="backslashreplace") if isinstance(key, bytes) else str(key)


def _pieces(text: str) -> "list[bytes]":
    pieces = []
    position = 0
    for match in _ESCAPE.finditer(text):
        digits, letter = match.groups()
        pieces.append(text[position : match.start()].encode(errors="surrogateescape"))
        if digits is None and letter is None:
            raise UsageError(
                f"a single backslash in {text[:80]!r}: write \\\\ for one, \\xNN for any byte"
            )
        pieces.append(bytes.fromhex(digits) if digits else _LONG[letter].encode())
        position = match.end()
    pieces.append(text[position:].encode(errors="surrogateescape"))
    return pieces
