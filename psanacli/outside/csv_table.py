"""Tables of text: comma, semicolon, tab or blanks between cells; a header, comments, quotes.

Cells between plain separators are found with array operations on the bytes of the file; only where there are quotes
the csv module takes over.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.errors import DataError, UsageError, fold
from psanacli.outside.cells import Cells, Place, field_of
from psanacli.outside.table import Origin, OutsideTable, RowCounts, in_order
from psanacli.outside.times import (
    ReadOptions,
    RowTimes,
    names_time,
    time_columns,
    times_of_cells,
    times_of_pair,
    word_unit,
)

Array = NDArray[Any]
Bytes = NDArray[np.uint8]

SUFFIXES = (".csv", ".tsv", ".txt", ".dat", ".tab", ".log", ".asc")
_NEWLINE, _QUOTE, _BLANK, _TAB = 10, 34, 32, 9
_COMMENTS = (ord("#"), ord("%"))
_SEPARATORS = (",", ";", "\t")
_BLANKS = " "
"""Stands for any number of blanks and tabs."""
_MOST_BYTES = 1 << 31
"""Most bytes of one column when all cells are as long as the longest."""
_MOST_HEAD = 1 << 20
_AT_ONCE = 1 << 15
_MOST_BLANKS = 1 << 12
_UNITS = re.compile(r"(.*?)\s*[\[(]([^\[\]()]*)[\])]\s*")


@dataclass(frozen=True, eq=False)
class Grid:
    """The cells of a text, column by column."""

    names: list[str]
    units: list[str]
    columns: list[Cells]
    place: Place


def read(data: bytes, origin: Origin, options: ReadOptions) -> OutsideTable:
    """Read a table of text.

    Parameters
    ----------
    data : bytes
        The content of the file.
    origin : Origin
        Of the file.
    options : ReadOptions
        What the file does not say itself.

    Raises
    ------
    UsageError
        It is no table, or its times cannot be told.
    DataError
        A row has not as many cells as the others, a cell is not what the others of its column are.
    """
    grid = _grid(data, origin.path)
    counts = RowCounts(rows=len(grid.columns[0]))
    names = time_columns(grid.names, options, origin.path)
    columns = [grid.names.index(name) for name in names]
    times = _times(grid, columns, options, counts)
    rows = np.flatnonzero(times.usable)
    states = {fold(name) for name in options.states}
    fields = {
        name: field_of(cells, grid.place, name, unit, fold(name) in states)
        for number, (name, unit, cells) in enumerate(zip(grid.names, grid.units, grid.columns, strict=True))
        if number not in columns
    }
    if len(rows) < counts.rows:
        fields = {name: field.take(rows) for name, field in fields.items()}
    known = Origin(**{**origin.asdict(), "time": "+".join(names), "zone": times.zone})
    return in_order(times.times[rows], fields, known, counts)


def _times(grid: Grid, columns: list[int], options: ReadOptions, counts: RowCounts) -> RowTimes:
    names = [grid.names[column] for column in columns]
    cells = [grid.columns[column] for column in columns]
    units = grid.units[columns[0]]
    if len(columns) == 2:
        fields = [field_of(column, grid.place, name) for column, name in zip(cells, names, strict=True)]
        kinds = [np.asarray(field.values).dtype.kind for field in fields]
        if kinds[0] in "iu" and kinds[1] in "iu":
            filled = (cells[0] != b"") & (cells[1] != b"")
            for field in fields:
                filled &= True if field.valid is None else field.valid
            rows = np.flatnonzero(filled)
            counts.without_time += len(filled) - len(rows)
            times = np.zeros(len(filled), np.int64)
            place, pair = grid.place.take(rows), (fields[0].values[rows], fields[1].values[rows])
            times[rows] = times_of_pair(*pair, options, place, tuple(names))
            return RowTimes(times, filled, "UTC")
        cells = [np.char.strip(np.char.add(np.char.add(cells[0], b" "), cells[1]))]
        names, units = ["+".join(names)], ""
    return times_of_cells(cells[0], units, options, grid.place, names[0], counts)


# ---- cells ---------------------------------------------------------------------------------------------------------


def _grid(data: bytes, path: str) -> Grid:
    """Return the cells of a text."""
    data = _plain(data, path)
    content = np.frombuffer(data, np.uint8)
    stops = np.flatnonzero(content == _NEWLINE)
    starts = np.concatenate((np.zeros(1, np.int64), stops[:-1] + 1)) if len(stops) else stops
    # The first byte of each line that is no blank; the newline itself where there is none.
    first = content[starts]
    if ((first == _BLANK) | (first == _TAB)).any():
        solid = np.flatnonzero((content != _BLANK) & (content != _TAB))
        first = content[solid[np.searchsorted(solid, starts)]]
    comment = np.isin(first, _COMMENTS)
    rows = np.flatnonzero(~comment & (first != _NEWLINE))
    if not len(rows):
        raise UsageError(f"{path}: there is no table in it, only {len(stops)} lines of comments or nothing")

    def line(number: int) -> str:
        if stops[number] - starts[number] > _MOST_HEAD:
            raise UsageError(f"{path}, line {number + 1}: the line is too long for one of a table")
        return data[int(starts[number]) : int(stops[number])].decode().strip(" ")

    head = line(int(rows[0]))
    separator = _separator(head)
    names = _split(head, separator, f"{path}, line {int(rows[0]) + 1}")
    body = rows
    if not any(map(_is_datum, names)) or any(map(names_time, names)):
        body = rows[1:]
    else:
        above = int(rows[0]) - 1
        described = above >= 0 and bool(comment[above])
        names = _header_above(line(above).lstrip("#% \t"), separator, len(names)) if described else []
        names = names or [f"c{number + 1}" for number in range(len(_split(head, separator, path)))]
    place = Place(path, body + 1)
    columns = _columns(content, data, starts, stops, body, separator, len(names), place)
    named, units, kept = _names(names, columns, path)
    return Grid(named, units, kept, place)


def _plain(data: bytes, path: str) -> bytes:
    """Return a text as UTF-8 with a newline alone at the end of every line."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        try:
            data = data.decode("utf-16").encode()
        except UnicodeError:
            raise DataError(f"{path}: begins like a UTF-16 text, and is none") from None
    data = data.removeprefix(b"\xef\xbb\xbf")
    try:
        if not data.isascii():
            data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        hint = "save it as UTF-8; a table in HDF5 ends with .h5, one of an archiver with .json"
        raise DataError(f"{path}, line {line}: byte {data[error.start]:#04x} is no text", hint) from None
    if b"\0" in data:
        line = data.count(b"\n", 0, data.index(b"\0")) + 1
        raise DataError(f"{path}, line {line}: there is a zero byte, so this is no text")
    if b"\r" in data:
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return data if data.endswith(b"\n") or not data else data + b"\n"


def _separator(line: str) -> str:
    """Return what stands between the cells of a line, outside of quotes."""
    bare = re.sub(r'"[^"]*"', "", line)
    found = max(_SEPARATORS, key=bare.count)
    return found if found in bare else _BLANKS


def _split(line: str, separator: str, where: str) -> list[str]:
    if separator == _BLANKS:
        return re.split("[ \t]+", line.strip(" \t"))
    try:
        cells = next(csv.reader([line], delimiter=separator, skipinitialspace=True, strict=True))
        return [cell.strip(" \t") for cell in cells]
    except csv.Error as error:
        raise DataError(f"{where}: {error}") from None


def _is_datum(cell: str) -> bool:
    """Whether a cell is a number or begins like a date, so that its line is no header."""
    return bool(re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|\d+[-/.:]\d+.*|\d{8}[tT_ ]\d.*", cell))


def _header_above(line: str, separator: str, count: int) -> list[str]:
    """Return the names in a comment right above the first row, if there are as many as cells."""
    for between in (separator, _BLANKS, *_SEPARATORS):
        try:
            names = _split(line, between, "")
        except DataError:
            continue
        if len(names) == count and not any(map(_is_datum, names)):
            return names
    return []


def _names(names: Sequence[str], columns: list[Cells], path: str) -> tuple[list[str], list[str], list[Cells]]:
    """Return names, units (``temp [K]``) and cells; a column without a name and content is left out."""
    found: dict[str, tuple[str, Cells]] = {}
    for number, (text, cells) in enumerate(zip(names, columns, strict=True)):
        name, unit = text, ""
        if bracket := _UNITS.fullmatch(text):
            name, unit = bracket[1] or text, bracket[2].strip()
        elif (tail := text.rpartition("_"))[0] and fold(tail[0]) in ("time", "timestamp", "epoch"):
            unit = word_unit(tail[2])  # time_ms
        name = re.sub(r"\s+", "_", name.strip(" \t"))
        if not name and not (cells != b"").any():
            continue
        name = name or f"c{number + 1}"
        if name in found:
            raise UsageError(f"{path}: two columns have the name {name!r}", "give each a name of its own")
        found[name] = unit, cells
    if not found:
        raise UsageError(f"{path}: there is no table in it, only separators")
    return list(found), [unit for unit, _ in found.values()], [cells for _, cells in found.values()]


def _columns(
    content: Bytes, data: bytes, starts: Array, stops: Array, body: Array, separator: str, count: int, place: Place
) -> list[Cells]:
    """Return the cells of all columns."""
    if not len(body):
        return [np.zeros(0, "S1") for _ in range(count)]
    if len(body) < len(starts) or starts[body[0]]:
        inside = np.zeros(len(starts), bool)
        inside[body] = True
        lengths = stops - starts + 1
        if len(body) == len(starts) - int(body[0]):  # only lines at the top are no rows
            content = content[int(starts[body[0]]) :]
        else:
            content = content[: int(stops[-1]) + 1][np.repeat(inside, lengths)]
    if (content == _QUOTE).any():
        return _quoted(content.tobytes(), separator, count, place)
    first, last, ends = _cells(content, separator)
    per_row = np.diff(np.flatnonzero(ends), prepend=-1)
    if (per_row != count).any():
        raise _uneven(place, int(np.argmax(per_row != count)), int(per_row[per_row != count][0]), count)
    first, last = first.reshape(-1, count), last.reshape(-1, count)
    return [_gathered(content, first[:, column], last[:, column], place) for column in range(count)]


def _cells(content: Bytes, separator: str) -> tuple[Array, Array, Array]:
    """Return where each cell begins and ends, and whether it is the last of its line."""
    newline = content == _NEWLINE
    if separator != _BLANKS:
        last = np.flatnonzero(newline | (content == ord(separator)))
        first = np.concatenate((np.zeros(1, np.int64), last[:-1] + 1))
        return first, last, newline[last]
    gap = newline | (content == _BLANK) | (content == _TAB)
    edge = np.diff(gap.astype(np.int8), prepend=np.int8(1))
    first, last = np.flatnonzero(edge == -1), np.flatnonzero(edge == 1)
    # The last of its line is the one before whose successor there is a newline.
    lines = np.cumsum(newline)[first]
    return first, last, np.append(lines[1:] != lines[:-1], True)


def _gathered(content: Bytes, first: Array, last: Array, place: Place) -> Cells:
    """Return cells, without blanks around, as fixed-size bytes."""
    first, last = first.copy(), last.copy()
    for edge, step, beside in ((first, 1, 0), (last, -1, -1)):
        rows = np.flatnonzero(_blank(content, edge + beside) & (first < last))
        for _ in range(_MOST_BLANKS):
            edge[rows] += step
            rows = rows[_blank(content, edge[rows] + beside) & (first[rows] < last[rows])]
            if not len(rows):
                break
        else:
            raise DataError(f"{place.at(int(rows[0]))}: more than {_MOST_BLANKS} blanks around a cell")
    length = last - first
    width = max(int(length.max()), 1)
    if width * len(first) > _MOST_BYTES:
        row = int(np.argmax(length))
        raise DataError(f"{place.at(row)}: a cell of {width} bytes is too long for one of a table")
    cells = np.zeros((len(first), width), np.uint8)
    across = np.arange(width)
    for at in range(0, len(first), _AT_ONCE):
        some = slice(at, at + _AT_ONCE)
        spots = first[some, np.newaxis] + across
        np.minimum(spots, len(content) - 1, out=spots)
        cells[some] = content[spots] * (across < length[some, np.newaxis])
    return cells.view(f"S{width}").reshape(-1)


def _blank(content: Bytes, spots: Array) -> NDArray[np.bool_]:
    found = content[spots]
    return np.asarray((found == _BLANK) | (found == _TAB))


def _quoted(data: bytes, separator: str, count: int, place: Place) -> list[Cells]:
    """Return the cells of a text with quotes; a quoted cell does not go on in the next line."""
    if separator == _BLANKS:
        data = re.sub(rb"[ \t]+(?=(?:[^\"\n]*\"[^\"\n]*\")*[^\"\n]*\n)", b" ", data)
    rows = []
    lines = data.decode().split("\n")[:-1]
    for number, line in enumerate(lines):
        try:
            cells = next(csv.reader([line.strip(" ")], delimiter=separator, skipinitialspace=True, strict=True))
        except csv.Error as error:
            raise DataError(f"{place.at(number)}: {error}", "a quoted cell has to end in its line") from None
        if len(cells) != count:
            raise _uneven(place, number, len(cells), count)
        rows.append(cells)
    columns = []
    for column in zip(*rows, strict=True):
        encoded = [cell.strip(" \t").encode() for cell in column]
        width = max(map(len, encoded))
        if width * len(encoded) > _MOST_BYTES:
            raise DataError(f"{place.path}: a cell of {width} bytes is too long for one of a table")
        columns.append(np.array(encoded, f"S{max(width, 1)}"))
    return columns


def _uneven(place: Place, row: int, cells: int, count: int) -> DataError:
    return DataError(
        f"{place.at(row)}: {cells} cell{'s' * (cells != 1)}, where there are {count} columns", "a comment begins with #"
    )
