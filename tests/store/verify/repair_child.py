"""A process that repairs, and is killed before its nth commit, or whose files may not grow beyond a
limit: ``python -m tests.store.verify.repair_child DIRECTORY COPY kill|full NUMBER``."""

import os
import resource
import signal
import sys
from pathlib import Path

from plyvel._plyvel import WriteBatch

from replicator.errors import StorageError
from replicator.store.level import Level
from replicator.store.verify.repair import Repair
from replicator.store.verify.sidefile import SideFile
from tests.store.places import Place
from tests.store.verify.damage import Rows


def kill_before(nth: int) -> None:
    """Let this process be killed before its nth commit."""
    commit, left = Level.commit, nth

    def counted(level: Level, batch: WriteBatch) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        commit(level, batch)

    Level.commit = counted  # type: ignore[method-assign]


def main() -> None:
    directory, copy, how, number = sys.argv[1:]
    try:
        with Rows(Place(Path(directory))) as found:
            if how == "kill":
                kill_before(int(number))
            else:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (int(number), resource.RLIM_INFINITY))
            repair = Repair(found.handle, Path(directory))
            with SideFile(Path(copy), {}) as side_file:
                repair.copy(side_file)
                list(repair.mend(side_file))
    except StorageError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
