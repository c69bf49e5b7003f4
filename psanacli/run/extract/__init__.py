"""Extraction: a reduced run as real XTC files, which everything that reads runs can read.

`plan_extraction` decides from tables what of each file stays; `write_file` writes one file; `new_tree` makes the
directory that holds them.  Who has several workers deals files among them; `extract` does all with one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from psanacli.run.extract.plan import LEFT_OUT, WHOLE, Extraction, plan_extraction
from psanacli.run.extract.rewriting import Recipe
from psanacli.run.extract.tree import (
    PROVENANCE,
    calibration_of,
    copy_calibration,
    new_tree,
    write_provenance,
    write_table,
    xtc_directory,
)
from psanacli.run.extract.writing import Advance, write_file
from psanacli.run.files import INDEX_DIRECTORY, XtcFile
from psanacli.run.indexes import build_index, save_index
from psanacli.run.objects import Ints
from psanacli.run.resolving import RunFiles
from psanacli.run.run import Run
from psanacli.xtc import index_file_of, small_file_of, write_index, write_small


def write_with_companions(
    extraction: Extraction, number: int, directory: Path, threshold: int, advance: Advance | None = None
) -> int:
    """Write one file of an extracted run with its small data and its index.

    Parameters
    ----------
    extraction : Extraction
        The plan.
    number : int
        Which of its files.
    directory : Path
        Where it goes; ``smalldata`` and ``index`` are in it.
    threshold : int
        Objects of so many bytes become proxies in the small data.
    advance : callable, optional
        Called now and then with the number of bytes that were written since the last call.

    Returns
    -------
    int
        Bytes of the three files.
    """
    path = directory / extraction.files[number].path.name
    total = write_file(extraction, number, path, advance)
    small = write_small(path, small_file_of(path), threshold=threshold, as_they_are=extraction.bare(number))
    return total + small.size + write_index(path, index_file_of(path)).size


def write_run_index(extraction: Extraction, root: Path) -> Path:
    """Write the index of an extracted run, once all of its files are there; return its path."""
    directory = xtc_directory(root, extraction)
    files = tuple(XtcFile.of(directory / file.path.name) for file in extraction.files)
    run = RunFiles(extraction.run.experiment, extraction.run.number, files, "xtc", directory)
    return save_index(build_index(run, overwrite=True), files, directory / INDEX_DIRECTORY)[0]


def extract(
    run: Run,
    numbers: Sequence[int] | Ints | slice,
    root: str | Path,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    threshold: int = 1024,
    overwrite: bool = False,
) -> Extraction:
    """Extract some events of a run into a directory.

    Parameters
    ----------
    run : Run
        The full run.
    numbers : sequence of int or slice
        Numbers of events.
    root : path
        The new directory, with ``INSTRUMENT/EXPERIMENT/xtc`` in it.
    include, exclude : sequence of str
        Patterns of sources and types; see `plan_extraction`.
    threshold : int
        Objects of so many bytes become proxies in the small data.
    overwrite : bool
        Replace an extraction that is there.

    Returns
    -------
    Extraction
        What was written.
    """
    extraction = plan_extraction(run, numbers, include=include, exclude=exclude)
    with new_tree(Path(root), [extraction], overwrite=overwrite) as part:
        for number in range(len(extraction.files)):
            write_with_companions(extraction, number, xtc_directory(part, extraction), threshold)
        write_run_index(extraction, part)
        write_table(part, [extraction])
        write_provenance(part, [extraction])
    return extraction


__all__ = [
    "LEFT_OUT",
    "PROVENANCE",
    "WHOLE",
    "Extraction",
    "Recipe",
    "calibration_of",
    "copy_calibration",
    "extract",
    "new_tree",
    "plan_extraction",
    "write_file",
    "write_provenance",
    "write_run_index",
    "write_table",
    "write_with_companions",
    "xtc_directory",
]
