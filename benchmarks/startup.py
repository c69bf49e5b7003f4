"""How long `psana --help` takes, next to the least that a click program takes: `python -c "import click"`.

``python benchmarks/startup.py [PAIRS]`` runs both in turn and prints the medians and their ratio; the limit is 2.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

LIMIT = 2.0
CLICK = [sys.executable, "-c", "import click"]
#: What the installed script `psana` does.
PSANA = [sys.executable, "-c", "import sys; from psanacli.commands.main import main; sys.exit(main())", "--help"]


def seconds(words: list[str]) -> float:
    begin = time.perf_counter()
    subprocess.run(words, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - begin


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 41
    seconds(CLICK), seconds(PSANA)  # compile and cache
    click, psana = zip(*((seconds(CLICK), seconds(PSANA)) for _ in range(pairs)), strict=True)
    ratio = statistics.median(p / c for p, c in zip(psana, click, strict=True))
    print(f"import click   {statistics.median(click) * 1000:6.1f} ms")
    print(f"psana --help   {statistics.median(psana) * 1000:6.1f} ms")
    print(f"ratio          {ratio:6.2f}      limit {LIMIT:g}: {'kept' if ratio <= LIMIT else 'NOT kept'}")


if __name__ == "__main__":
    main()
