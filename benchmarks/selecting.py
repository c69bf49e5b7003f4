"""How fast events are selected: expressions over the columns of a table, next to the same in numpy.

``python benchmarks/selecting.py`` selects among 10 million rows.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from measure import at_most, finish, in_turn

from psanacli.run import Expression, Table

ROWS = 10_000_000


def main() -> None:
    """Print the ratios."""
    random = np.random.default_rng(1)
    x, y = random.normal(size=ROWS), random.normal(size=ROWS)
    single = x.astype(np.float32)
    code = random.integers(0, 200, ROWS, dtype=np.int32)
    lost = random.random(ROWS) < 0.01
    table = Table({"x": x, "y": y, "single": single, "code": code, "masked": np.ma.array(x, mask=lost)})
    cases: list[tuple[str, Callable[[], np.ndarray]]] = [
        ("x > 0.5", lambda: x > 0.5),
        ("x > 0.5 and y < 0", lambda: (x > 0.5) & (y < 0)),
        ("-1 < x < 1 and code == 140", lambda: (x > -1) & (x < 1) & (code == 140)),
        ("single > 0.5 or not code in [140, 162]", lambda: (single > 0.5) | ~((code == 140) | (code == 162))),
        ("abs(x - y) / 2 > 0.7 * sqrt(x * x + y * y)", lambda: np.abs(x - y) / 2 > 0.7 * np.sqrt(x * x + y * y)),
        ("code % 10 == 3 and x > y", lambda: (code % 10 == 3) & (x > y)),
        ("masked > 0.5 and y < 0", lambda: (x > 0.5) & ~lost & (y < 0)),
    ]
    for text, plain in cases:
        bound = Expression.parse(text).bind(table)
        assert (bound.select() == np.flatnonzero(plain())).all()
        pair = in_turn(bound.select, lambda plain=plain: np.flatnonzero(plain()), 9)  # type: ignore[misc]
        # A mask is one more array to go through, and what is absent has to stay so.
        at_most(
            text,
            pair.ratio,
            2 if "masked" in text else 1.2,
            f"{pair.first * 1000:.0f} ms, numpy {pair.second * 1000:.0f} ms",
        )
    finish()


if __name__ == "__main__":
    main()
