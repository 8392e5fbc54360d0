"""Types of plyvel 1.5, which ships none. Only what plyvel itself exports stands here; the classes
that its methods return live in `plyvel._plyvel`."""

from plyvel._plyvel import DB as DB
from plyvel._plyvel import CorruptionError as CorruptionError
from plyvel._plyvel import Error as Error
from plyvel._plyvel import IOError as IOError
from plyvel._plyvel import IteratorInvalidError as IteratorInvalidError
from plyvel._plyvel import __leveldb_version__ as __leveldb_version__
from plyvel._plyvel import destroy_db as destroy_db
from plyvel._plyvel import repair_db as repair_db

__version__: str
