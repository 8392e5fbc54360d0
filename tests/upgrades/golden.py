"""The bytes of a format, fixed for good: a directory row by row, and what it holds.

python -m tests.upgrades.golden DIRECTORY < what-making-printed > format-N.json
"""

import json
import sys
from pathlib import Path
from typing import Any

import plyvel

FORMAT_1 = Path(__file__).with_name("format-1.json")


def read_golden(path: Path) -> tuple[dict[bytes, bytes], dict[str, Any]]:
    """The rows, and what the version that wrote them said that they hold."""
    golden = json.loads(path.read_text())
    found = {bytes.fromhex(key): bytes.fromhex(row) for key, row in golden["rows"]}
    return found, golden["held"]


def write_rows(path: Path, rows: dict[bytes, bytes]) -> None:
    """A LevelDB of just these rows."""
    with plyvel.DB(str(path), create_if_missing=True) as db, db.write_batch() as batch:
        for key, row in rows.items():
            batch.put(key, row)


if __name__ == "__main__":
    with plyvel.DB(sys.argv[1]) as db:
        rows = [[key.hex(), row.hex()] for key, row in db]
    held = json.load(sys.stdin)[Path(sys.argv[1]).name]
    print(json.dumps({"rows": rows, "held": held}, indent=1))
