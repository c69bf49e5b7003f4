from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.large import Rows
from psanacli.xtc.headers import Buffer

_Dtypes = tuple[np.dtype[Any], np.dtype[Any], np.dtype[Any]]
_Tables = tuple[NDArray[np.int64], NDArray[Any], NDArray[Any], int, NDArray[Any], int]

TROUBLE: np.dtype[Any]

_Known = tuple[NDArray[Any], NDArray[Any], NDArray[np.int64], int]

def walk_descriptor(
    descriptor: int, start: int, stop: int, size: int, dtypes: _Dtypes, rows: Rows, known: _Known | None = None
) -> _Tables: ...
def walk_memory(buffer: Buffer, dtypes: _Dtypes, rows: Rows) -> _Tables: ...
