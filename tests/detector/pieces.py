"""A Jungfrau of four modules that is read out in pieces, in which everything is known."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from psanacli.xtc import Container, Contribution, RunWriter, Source, node
from psanacli.xtc.encode import encode

NODE = node("172.21.38.10", 5000)
CONTROL = Source.parse("ProcInfo(172.21.38.2)", 3977)
WHOLE = Source.parse("CxiEndstation.0:Jungfrau.0")
ROWS, COLUMNS = 512, 1024
MODULES = 4
EVENTS = 5
LATE, DAMAGED = 2, 3
"""Events that have not all pieces, or one of them damaged."""


def piece(first: int, modules: int, total: int = MODULES, whole: Source = WHOLE) -> Source:
    """Return the source of some modules: index and number are in the low bits of its ids."""
    device = 51 + modules - 1
    phy = whole.phy & 0xFF000000 | (whole.det_id << 4 | total & 15) << 16 | device << 8 | whole.dev_id << 4 | first
    return Source(whole.log, phy)


def raw(number: int, modules: int = MODULES) -> NDArray[np.uint16]:
    """Return the image of an event: the number of the module in the thousands, gain ranges by row."""
    module, row, column = np.indices((modules, ROWS, COLUMNS), sparse=True)
    value = 1000 * module + 10 * number + column % 7
    bits = np.array([0, 1, 3, 0], np.uint16)[row % 4] << 14
    return np.asarray(value | bits, np.uint16)


def config(modules: int, first: int, mode: int = 0) -> bytes:
    infos = [{"serialNumber": 100 + first + k, "moduleVersion": 2, "firmwareVersion": 3} for k in range(modules)]
    size = {"numberOfModules": modules, "numberOfRowsPerModule": ROWS, "numberOfColumnsPerModule": COLUMNS}
    return encode("Jungfrau.ConfigV3", {**size, "gainMode": mode, "moduleConfig": infos + [{}] * (8 - modules)})


def element(image: NDArray[np.uint16], number: int, first: int) -> bytes:
    """Return an object; each piece counts its frames from a number of its own."""
    infos = [{"moduleID": first + k} for k in range(len(image))]
    return encode("Jungfrau.ElementV2", {"frameNumber": 100 * first + number, "moduleInfo": infos, "frame": image})


def write(
    directory: Path,
    parts: Sequence[tuple[int, int]] = ((0, 1), (1, 1), (2, 2)),
    *,
    total: int = MODULES,
    events: int = EVENTS,
    number: int = 1,
    images: NDArray[np.uint16] | None = None,
    modes: Sequence[int] = (0, 0, 0, 0),
    faults: bool = True,
    apart: bool = True,
    slipped: Sequence[int] = (),
) -> list[Path]:
    """Write a run of pieces (first module, modules), or of one that is the whole; two events lack something.

    In events that are `slipped` the last piece is of the frame before.
    """
    sources = [(piece(first, modules, total) if apart else WHOLE, first, modules) for first, modules in parts]
    aliases = [(WHOLE, "jungfrau1m"), *((source, f"jungfrau1m_{first}") for source, first, _ in sources)]
    items = [{"src": {"log": source.log, "phy": source.phy}, "aliasName": alias} for source, alias in aliases]
    names = Contribution(
        "Alias.ConfigV1", CONTROL, encode("Alias.ConfigV1", {"numSrcAlias": len(items), "srcAlias": items})
    )
    with RunWriter(directory, "e301", number, streams=1) as run:
        configs = [
            Contribution("Jungfrau.ConfigV3", source, config(modules, first, mode))
            for (source, first, modules), mode in zip(sources, modes, strict=False)
        ]
        run.configure([names, Container(NODE, configs)])
        run.begin_step([])
        for event in range(events):
            image = raw(event) if images is None else images[event]
            found: list[Any] = []
            for place, (source, first, modules) in enumerate(sources):
                if faults and event == LATE and place == 1:
                    continue
                damage = 1 << 13 if faults and event == DAMAGED and place == 0 else 0
                frame = event - (event in slipped and place == len(sources) - 1)
                payload = element(image[first : first + modules], frame, first)
                found.append(Contribution("Jungfrau.ElementV2", source, payload, damage))
            run.event([Container(NODE, found)])
        return run.paths
