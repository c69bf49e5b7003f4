"""How fast the facility's index files and small data are made.

``python benchmarks/facility_files.py`` prints each figure and its limit.  Files are in the cache of the system.
"""

from __future__ import annotations

from pathlib import Path

from measure import at_most, cspad_run, finish, in_memory, in_turn, small_run

from psanacli.demo import Sample
from psanacli.xtc import index_file_of, small_file_of, write_index, write_small


def read_all(sample: Sample) -> None:
    for path in sample.paths:
        Path(path).read_bytes()


def copy(source: Path, target: Path) -> None:
    """Copy a file in pieces, the least that any program does that writes such a file."""
    buffer = bytearray(1 << 20)
    with open(source, "rb", buffering=0) as file, open(target, "wb", buffering=0) as out:
        while count := file.readinto(buffer):
            out.write(memoryview(buffer)[:count])


def main() -> None:
    with in_memory() as directory:
        for name, sample, index_limit in (("CSPAD", cspad_run(directory), 0.2), ("small", small_run(directory), 2)):
            big = Path(sample.paths[0])
            index, small = index_file_of(big), small_file_of(big)
            index.parent.mkdir()
            small.parent.mkdir()
            pair = in_turn(lambda b=big, i=index: write_index(b, i), lambda s=sample: read_all(s))
            detail = f"{pair.first * 1e3:.1f} ms for {sample.size / 1e6:.0f} MB"
            at_most(f"index of the facility, {name} run / reading its bytes", pair.ratio, index_limit, detail)
            made = write_small(big, small)
            pair = in_turn(lambda b=big, s=small: write_small(b, s), lambda s=small, d=directory: copy(s, d / "copy"))
            detail = f"{pair.first * 1e3:.1f} ms, {made.size / 1e6:.1f} MB, {made.proxies} proxies"
            at_most(
                f"small data of the {name} run / copying the small file", pair.ratio, 20 if made.proxies else 2, detail
            )
    finish()


if __name__ == "__main__":
    main()
