"""A translation that makes a checkpoint after every block, and takes its time: something to be interrupted.

``python program.py ROOT DATASOURCE OUTPUT [--resume]``
"""

import sys
import time

from psanacli.commands.main import run
from psanacli.hdf5 import output, pieces, placing, tables

output.CHECKPOINT_SECONDS = 0.0
tables.BLOCK_BYTES = 1 << 14
place = placing.Placer.__call__


def slowly(self: placing.Placer, block: tables.Block, filled: pieces.Filled) -> None:
    time.sleep(0.03)
    place(self, block, filled)
    print(block.number, flush=True)


placing.Placer.__call__ = slowly  # type: ignore[method-assign]
root, source, out, *more = sys.argv[1:]
sys.exit(run(["translate", source, "--root", root, "-o", out, "-q", *more]))
