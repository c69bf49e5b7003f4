"""How fast values from outside are joined: matching alone, and reading a table of a million rows.

``python benchmarks/joining.py`` prints each figure and its limit, and the ratio to sorting as many numbers.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from measure import at_most, finish, in_turn, median

from psanacli.outside import HOWS, match, read_table, taken

COUNT = 1_000_000
EPOCH = 1_436_200_000 * 10**9


def main() -> None:
    random = np.random.default_rng(1)
    rows = EPOCH + np.cumsum(random.integers(1, 20_000_000, COUNT))
    events = np.sort(random.integers(rows[0], rows[-1], COUNT))
    shuffled = random.permutation(events)
    values = random.normal(size=COUNT)

    def sort() -> None:
        np.sort(shuffled)

    for how in HOWS:
        for name, times in (("", events), (", events in any order", shuffled)):

            def join(how: str = how, times: np.ndarray = times) -> None:
                taken(match(rows, times, how, 10**9), values, None)

            pair = in_turn(join, sort, pairs=5)
            detail = f"{pair.ratio:.1f} of sorting a million int64"
            at_most(f"joining 10^6 rows with 10^6 events in s, {how}{name}", pair.first, 1, detail)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "table.csv"
        lines = zip((rows // 10**9).tolist(), (rows % 10**9).tolist(), values.tolist(), strict=True)
        path.write_text("time,value\n" + "".join(f"{s}.{ns:09d},{value:.6f}\n" for s, ns, value in lines))
        size = path.stat().st_size / 1e6
        print(f"reading a table of 10^6 rows, 2 columns, {size:.0f} MB: {median(lambda: read_table(path), 3):.2f} s")
    finish()


if __name__ == "__main__":
    main()
