"""Area detectors give what the original gave, call by call: raw and corrected images, constants, masks, photons."""

from __future__ import annotations

import gzip
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from reference import made_constants

from psanacli.calib import COMMON_MODE, masks, photons
from psanacli.detector import AreaDetector, Camera, Cspad, Cspad2x2, Fccd960, Jungfrau, RangedDetector
from psanacli.errors import PsanaError
from psanacli.run import Event, Run, open_run

SETS = {
    "area": "cspad cspad2x2 epix100a epix10kaquad jungfrau1m pnccd rayonix opal1000 princeton andor".split(),
    "area2": (
        "area2_cspad_2quads area2_cspad_3quads area2_cspad_4quads area2_cspad2x2_gainmap area2_jungfrau05m"
        " area2_epix10ka area2_opal_8bit area2_opal_12bit_roi area2_opal_16bit area2_timepix area2_fccd area2_fccd960"
        " area2_zyla area2_rayonix_bin10 area2_dualandor"
    ).split(),
}

GEOMETRY = frozenset(
    "coords_x coords_y coords_z indexes_x indexes_y areas pixel_size indexes_xy indexes_xy_at_z point_indexes"
    " image_xaxis image_yaxis image ndarray_from_image".split()
) | {"move_geo + tilt_geo, then coords_x, y, z, indexes_x, y"}
"""Calls that need a geometry."""

# Where the original is not followed, and why.  Every entry is used, and no call differs that has none.
FAILS = "there the call always fails"
FIRST_FAILS = "there the call fails the first time (T17)"
CACHED = "there the mask of the first call in a run is kept, whatever the keywords (T20)"
USER_MASK = "there the mask of the call is ignored (T17)"
GAIN_CACHED = "there gain_mask(run) changes what calib gives afterwards (T28)"
CORNERS = "there the unbonded pixels in two corners stay good when neighbours are masked (T37)"
SHAPE = "there the shape is that of the whole sensor, or lacks an axis"
NO_PEDESTALS = "missing pedestals are an error, not None"
NO_GEOMETRY = "there edges need a geometry, of a camera too"
BANKS = "there banks are corrected by rows of 128 (T16)"
OTHER_ORDER = "there the array is taken to be in the order of the data acquisition, although it is not"
NO_STATUS = "there the status of a DualAndor is not found: no pixel counts, or all do (T1)"
INTERNAL = "a step on the way to the gain ranges, which has no use of its own"

USER = '{"mask": "user"}'
FIRST, SECOND = "first call with a user mask ((arange(size) % 7 > 0))", "second call on the same object"
AFTER_EDGES = "after mask_comb(evt, 4) on the same object"
ANY = ""

Reasons = dict[tuple[str, str, str], str]
"""By call, its arguments (as JSON, empty: any), and its note."""

EVERYWHERE: Reasons = {
    ("status_as_mask", '{"mstcode": 0}', ""): FAILS,
    ("mask_v2", '{"status": false, "edges": true}', ""): FAILS,
    ("mask_neighbors_in_radius", ANY, ""): FAILS,
}
CORRECTED: Reasons = {
    ("calib", USER, FIRST): FIRST_FAILS,
    ("calib", USER, SECOND): USER_MASK,
    ("calib", "{}", AFTER_EDGES): CACHED,
    ("calib", '{"edges": true, "calib": true}', "after calib(evt) on the same object (the mask is cached)"): CACHED,
}
UNBONDED: Reasons = {
    **{("mask_geo", f'{{"mbits": {bits}}}', ""): CORNERS for bits in (8, 12, 16)},
    **{("mask", f'{{"{word}": true}}', ""): CORNERS for word in ("unbondnbrs", "unbondnbrs8")},
    **{("mask_comb", f'{{"positional": [{bits}]}}', ""): CORNERS for bits in (32, 64)},
}
WITHOUT_GEOMETRY: Reasons = {
    **{("mask_geo", f'{{"mbits": {bits}}}', ""): NO_GEOMETRY for bits in (1, 3, 31, 255)},
    ("mask_geo", '{"mbits": 1, "width": 5}', ""): NO_GEOMETRY,
    ("mask", '{"edges": true}', ""): NO_GEOMETRY,
    (
        "mask",
        '{"calib": true, "status": true, "edges": true, "central": true, "unbond": true, "unbondnbrs": true}',
        "",
    ): NO_GEOMETRY,
    **{("mask_comb", f'{{"positional": [{bits}]}}', ""): NO_GEOMETRY for bits in (4, 127)},
}
SIZES: Reasons = {(name, "{}", ""): SHAPE for name in ("shape", "size")}
GAIN_MASK: Reasons = {("calib", "{}", "after gain_mask(run) on the same object"): GAIN_CACHED}
RANGES: Reasons = {(name, "{}", ""): INTERNAL for name in ("control_bits", "find_gain_mode")}
OTHERS: dict[str, Reasons] = {
    "pnccd": {
        ("calib", '{"cmpars": [8, 8, 500]}', ""): BANKS,
        ("common_mode_correction", '{"nda": "raw - pedestals, f4", "cmpars": [8, 8, 500]}', ""): BANKS,
        ("calib", '{"cmpars": [8, 15, 500]}', "after calib(evt); user mask as above"): CACHED,
    },
    "area2_epix10ka": {(name, "{}", ""): SHAPE for name in ("shape", "ndim")},
    "area2_opal_16bit": {("pedestals", "{}", ""): NO_PEDESTALS},
    "area2_dualandor": {(name, ANY, ""): NO_STATUS for name in ("calib", "common_mode_correction", "photons")}
    | {("common_mode_apply", ANY, ""): NO_STATUS}
    | {("calib", ANY, AFTER_EDGES): NO_STATUS}
    | {("photons", ANY, "default mask; in this build the mask is not honoured"): NO_STATUS},
}


def reasons(name: str) -> Reasons:
    """Return what is not as in the original for a detector."""
    found = dict(EVERYWHERE)
    if name != "area2_opal_16bit":
        found |= CORRECTED
    if any(word in name for word in ("jungfrau", "epix10ka")):
        del found["calib", USER, SECOND]  # honoured, when the first call has failed
    if "cspad" in name:
        found |= UNBONDED
    if "2x2" in name:
        found |= {("common_mode_apply", ANY, ""): OTHER_ORDER}
    elif "cspad" in name:
        found |= GAIN_MASK
    if name in ("opal1000", "andor") or (
        "area2" in name and not any(word in name for word in ("cspad", "jungfrau", "epix10", "rayonix"))
    ):
        found |= WITHOUT_GEOMETRY
        found.pop(("calib", "{}", AFTER_EDGES), None)  # there are no edges in its mask then
    if "opal_" in name or name in ("area2_timepix", "area2_fccd960"):
        found |= SIZES
    if "epix10ka" in name:
        found |= RANGES
    return found | OTHERS.get(name, {})


class Call(NamedTuple):
    """A recorded call of a detector object."""

    name: str
    args: dict[str, Any]
    note: str
    result: Any


class Case:
    """A detector with the results of the original for it."""

    def __init__(self, shared: Path, name: str, run: Run) -> None:
        directory = shared / "psana1" / "detectors"
        recorded = json.loads((directory / f"{name}.json").read_text())
        self.name = name
        self.samples = np.load(directory / f"{name}.npz")
        self.run = run
        detector = run.detector(recorded["source"])
        assert isinstance(detector, AreaDetector)
        self.det = detector
        self.event = run.events[recorded["event_index"]]
        self.calls = [
            Call(each["call"], each.get("args") or {}, each.get("note", ""), each["result"])
            for each in recorded["calls"]
        ]
        self.user = (np.arange(math.prod(detector.shape)) % 7 > 0).astype(np.uint8).reshape(detector.shape)

    def calib(self, event: Event | None = None, **options: Any) -> Any:
        return self.det.calib(event or self.event, allow_uncalibrated=True, **options)

    def minus_pedestals(self, dtype: str) -> Any:
        raw = self.det.raw(self.event)
        assert raw is not None
        try:
            pedestals = self.det.pedestals
        except PsanaError:
            return None
        if isinstance(self.det, RangedDetector):
            pedestals = pedestals[0]
        return np.ascontiguousarray((raw.astype(np.float32) - pedestals).astype(dtype))


@pytest.fixture(scope="module")
def opened(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Run]]:
    """What opens a set of data with the constants that it was recorded with."""
    runs: dict[str, Run] = {}
    top = tmp_path_factory.mktemp("detectors")
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(str(shared / "tools"))
    patch.setenv("XDG_CACHE_HOME", str(top / "cache"))
    import make_constants as maker

    def opened(name: str) -> Run:
        if name not in runs:
            constants = top / name / "calib"
            wanted = {"area": "constants.json", "area2": "area2_constants.json"}[name]
            write_constants(maker, name, constants, json.loads((shared / "psana1/detectors" / wanted).read_text()))
            experiment = {"area": "cxiarea17:run=17", "area2": "cxipart18:run=18"}[name]
            runs[name] = open_run(f"exp={experiment}:dir={xtc_of(shared, name, top)}", calib_dir=constants)
        return runs[name]

    yield opened
    for run in runs.values():
        run.close()
    patch.undo()


def write_constants(maker: Any, name: str, directory: Path, checksums: dict[str, Any]) -> None:
    """Write the constants of the maker, after a look whether they are those of the recording."""
    for each in maker.table(name):
        arrays = maker.constants(each, made_constants.types(maker))
        for constants_type, array in arrays.items():
            crc32 = zlib.crc32(np.ascontiguousarray(array).tobytes())
            assert crc32 == checksums[each["source"]][constants_type]["crc32"]
        made_constants.write(maker, each, arrays, directory)


def xtc_of(shared: Path, name: str, top: Path) -> Path:
    """Return the directory of the files of a set, unpacked."""
    directory = shared / "lcls1" / name / "xtc"
    packed = list(directory.glob("*.xtc.gz"))
    if not packed:
        return directory
    unpacked = top / name / "xtc"
    unpacked.mkdir(parents=True)
    for path in packed:
        (unpacked / path.name.removesuffix(".gz")).write_bytes(gzip.decompress(path.read_bytes()))
    return unpacked


# What our interface says for a call.


def mask_options(args: dict[str, Any]) -> dict[str, Any]:
    """Return the arguments of our `mask` for those of `mask_v2`."""
    options: dict[str, Any] = {"status": args.get("status", True)}
    if "mstcode" in args:
        options["status"] = args["mstcode"]
    options |= {"unbonded": args.get("unbond", False), "pixel_mask": args.get("calib", False)}
    if args.get("neighbors"):
        forms = {"r": "diamond", "c": "disc", "s": "square"}
        options |= {"around": args.get("rad", 5), "form": forms[args.get("ptrn", "r")]}
    if args.get("edges"):
        options["edges"] = args.get("mrows", 1), args.get("mcols", 1)
    if args.get("central"):
        options["central"] = args.get("wcentral", 1)
    return options


def of_bits(bits: int, order: str, **widths: int) -> dict[str, Any]:
    """Return the arguments of our `mask` for the bits of `mask_geo` and `mask_comb`, with their meaning in order."""
    names = [name for place, name in enumerate(order.split()) if bits >> place & 1]
    options: dict[str, Any] = {"status": "status" in names, "pixel_mask": "pixel_mask" in names}
    if "edges" in names:
        options["edges"] = widths.get("width", 1)
    if "central" in names:
        options["central"] = widths.get("wcentral", 1)
    options["unbonded"] = "unbonded" in names
    options["unbonded_neighbours"] = 8 if "eight" in names else 4 if "four" in names else 0
    return options


CALIB_KEYWORDS = {"calib", "edges", "neighbors", "central", "unbond", "status", "mstcode"}


def calib(case: Case, call: Call) -> Any:
    args = call.args
    options: dict[str, Any] = {}
    if "cmpars" in args:
        options["common_mode"] = args["cmpars"]
    if CALIB_KEYWORDS & args.keys():
        options["mask"] = case.det.mask(**mask_options(args))
    if "mbits" in args and isinstance(case.det, RangedDetector):
        options["mask"] = case.det.mask(**of_bits(args["mbits"], COMB))  # all others ignore the bits
    if args.get("mask") == "user":
        options["mask"] = case.user if "cmpars" in args else case.det.mask(user=case.user)
    if "set_gain_mask_factor" in call.note and isinstance(case.det, Cspad):
        options["gain_map"] = case.det.gain_map(case.event, 3.0)
    return case.calib(case.run.events[args["event"]] if "event" in args else None, **options)


def common_mode(case: Case, call: Call) -> Any:
    before = case.minus_pedestals("f8" if call.name == "common_mode_apply" else "f4")
    after = before.copy()
    recipe = case.det.recipe(case.event, common_mode=call.args["cmpars"])
    assert recipe is not None
    recipe.subtract_common_mode(after)
    result = after if call.name == "common_mode_apply" else after - before
    return np.moveaxis(result, 0, -1) if call.result["shape"][-1] == 2 else result


def count_photons(case: Case, call: Call) -> Any:
    scale = call.args["adu_per_photon"]
    return photons(
        case.calib(),
        adu_per_photon=1.0 if scale is None else scale,
        threshold=call.args.get("thr_fraction", 0.9),
    )


def with_offset(case: Case, call: Call) -> Any:
    assert isinstance(case.det, Camera)
    raw, offset = case.det.raw(case.event), case.det.frame_offset(case.event)
    assert raw is not None and offset is not None
    if isinstance(case.det, Fccd960):
        return [raw, case.calib()]
    shifted = raw.astype(np.int32) - offset
    recipe = case.det.recipe(case.event, allow_uncalibrated=True)
    return [shifted, shifted.astype(np.float32) if recipe is None else recipe(shifted)]


def loading_status(case: Case, call: Call) -> Any:
    def word(name: str) -> str:
        if case.det.constants.get(name) is not None:
            return "LOADED"
        assumed = name == COMMON_MODE or case.det.constants.array(name) is not None
        return "DEFAULT" if assumed else "NONFOUND"

    return {name: word(name) for name in call.result}


def stored_common_mode(case: Case, call: Call) -> Any:
    found = case.det.constants.get(COMMON_MODE)
    if found is not None:
        return found.array
    numbers = np.zeros(call.result["shape"])
    numbers[: len(case.det.constants.kind.common_mode)] = case.det.constants.kind.common_mode
    return numbers


def configuration(case: Case, call: Call) -> Any:
    config = case.det.config(case.event)
    assert config is not None
    wanted = json.loads(call.result)
    found: dict[str, Any] = {"version": config.xtc_type.name.partition(".")[2]}
    for name in wanted:
        if name != "version":
            value = getattr(config, name)
            found[name] = [value(quad) for quad in range(4)] if callable(value) else value
    return json.dumps(found)


def quads(case: Case, call: Call) -> Any:
    record = case.det.get(case.run.events[call.args["event"]])
    assert record is not None
    return json.dumps([[quad.quad, list(quad.data.shape)] for quad in record.quads])


def gain_mask(case: Case, call: Call) -> Any:
    assert isinstance(case.det, (Cspad, Cspad2x2))
    found: Any = case.det.low_gain(case.event)
    found = case.det.gain_map(case.event, call.args["gain"]) if "gain" in call.args else found.astype(np.uint8)
    # Of a CSPAD 2x2 the original turns an array that is in the order of images already.
    return np.moveaxis(found.reshape(185, 388, 2), -1, 0) if isinstance(case.det, Cspad2x2) else found


def ranges(case: Case, call: Call) -> Any:
    assert isinstance(case.det, RangedDetector)
    found = case.det.gain_ranges(case.event)
    assert found is not None
    if call.name == "pixel_gain_mode_fractions":
        return [round(np.count_nonzero(found == number) / found.size, 15) for number in range(7)]
    # A pixel in no range has a number of another range there, or of none.
    none = 0 if isinstance(case.det, Jungfrau) else 10
    return np.where(found == 255, none, found).astype(call.result["dtype"])


GEO = "edges central unbonded four eight"
COMB = "status pixel_mask edges central unbonded four eight"
MASK_WORDS = {"calib": "pixel_mask", "unbond": "unbonded", "unbondnbrs": "four", "unbondnbrs8": "eight"}


def any_mask(case: Case, call: Call) -> Any:
    if call.name == "mask_v2":
        options = mask_options(call.args)
    elif call.name == "mask_geo":
        options = of_bits(
            **{"bits": call.args["mbits"], "order": GEO}, **{k: v for k, v in call.args.items() if k != "mbits"}
        )
    elif call.name == "mask_comb":
        options = of_bits(call.args["positional"][0], COMB)
    else:
        words = [MASK_WORDS.get(name, name) for name, value in call.args.items() if value]
        options = of_bits((1 << len(words)) - 1, " ".join(words))
    found = case.det.mask(**options)
    return None if call.result is None and found.all() else found


def neighbours_of_status(case: Case, call: Call) -> Any:
    names = {"mstextra": "extra", "mode": "neighbours", "indexes": "ranges", "mstcode": "bits"}
    options = {names[name]: value for name, value in call.args.items()}
    if "neighbours" in options:
        options["neighbours"] = (0, 4, 8)[options["neighbours"]]
    return case.det.status_as_mask(**options)


ANSWERS: dict[str, Callable[[Case, Call], Any]] = {
    "shape": lambda case, call: list(case.det.shape),
    "size": lambda case, call: math.prod(case.det.shape),
    "ndim": lambda case, call: len(case.det.shape),
    "instrument": lambda case, call: case.run.instrument,
    "pedestals": lambda case, call: case.det.pedestals,
    "rms": lambda case, call: case.det.rms,
    "gain": lambda case, call: case.det.gain,
    "offset": lambda case, call: case.det.offset,
    "bkgd": lambda case, call: case.det.background,
    "mask_calib": lambda case, call: case.det.pixel_mask,
    "status": lambda case, call: case.det.status,
    "status_extra": lambda case, call: case.det.status_extra,
    "status_data": lambda case, call: case.det.status_data,
    "common_mode": stored_common_mode,
    "loading_status": loading_status,
    "raw": lambda case, call: case.det.raw(case.run.events[call.args["event"]]),
    "calib": calib,
    "raw, calib": with_offset,
    "common_mode_correction": common_mode,
    "common_mode_apply": common_mode,
    "photons": count_photons,
    "status_as_mask": neighbours_of_status,
    "mask": any_mask,
    "mask_geo": any_mask,
    "mask_comb": any_mask,
    "mask_v2": any_mask,
    "mask_edges": lambda case, call: case.det.mask(status=False, user=case.user, edges=(3, 2)),
    "mask_neighbors": lambda case, call: masks.with_neighbours(case.user),
    "gain_mask": gain_mask,
    "gain_mask_non_zero": gain_mask,
    "configuration": configuration,
    "quads in the data: [quad, shape]": quads,
    "map_gain_range_index": ranges,
    "pixel_gain_mode_fractions": ranges,
}


def compare(case: Case, ours: Any, wanted: Any, tally: Counter[str]) -> str:
    """Return what differs, nothing when it is the same; count what was compared."""
    if isinstance(wanted, dict) and "samples" in wanted:
        return compare_arrays(case, ours, wanted, tally)
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], dict):
        return "; ".join(filter(None, (compare(case, a, b, tally) for a, b in zip(ours, wanted, strict=True))))
    if isinstance(ours, np.ndarray) or (isinstance(wanted, dict) and "error" in wanted):
        return f"{type(ours).__name__} for {str(wanted)[:60]}"
    if isinstance(wanted, list) and wanted and isinstance(wanted[0], float):
        wanted = [round(each, 15) for each in wanted]
    return "" if ours == wanted else f"{ours} for {wanted}"


def compare_arrays(case: Case, ours: Any, wanted: dict[str, Any], tally: Counter[str]) -> str:
    if not isinstance(ours, np.ndarray):
        return f"{ours} for an array"
    if list(ours.shape) != wanted["shape"] or str(ours.dtype) != wanted["dtype"]:
        return f"{ours.shape} {ours.dtype} for {wanted['shape']} {wanted['dtype']}"
    plain = np.ascontiguousarray(ours)
    if zlib.crc32((plain + 0 if plain.dtype.kind == "f" else plain).tobytes()) == wanted["crc32"]:
        tally["detectors: pixels, all bits"] += ours.size
        return ""
    samples = case.samples[wanted["samples"]].astype(ours.dtype)
    found = plain.reshape(-1)[:: wanted["stride"]]
    different = np.flatnonzero(found != samples)
    where = f"{len(different)} of {len(samples)} samples"
    if len(different):
        where += f", such as {found[different[0]]} for {samples[different[0]]}"
    return where + f"; sum {plain.sum(dtype='f8')} for {wanted['sum']}"


@pytest.mark.parametrize(("name", "dataset"), [(name, key) for key, names in SETS.items() for name in names])
def test_recorded_calls(
    shared: Path, opened: Callable[[str], Run], name: str, dataset: str, tally: Counter[str]
) -> None:
    case = Case(shared, name, opened(dataset))
    assert case.det.get(case.event) is not None
    explained = reasons(name)
    used, wrong = set(), []
    for call in case.calls:
        if call.name in GEOMETRY:
            tally["detectors: calls of geometry, left out"] += 1
            continue
        try:
            answer = ANSWERS.get(call.name)
            difference = "no answer" if answer is None else compare(case, answer(case, call), call.result, tally)
        except PsanaError as error:
            difference = f"error: {error}"
        if not difference:
            tally["detectors: calls as in the original"] += 1
            continue
        keys = {(call.name, json.dumps(call.args), call.note), (call.name, ANY, call.note)} & explained.keys()
        if keys:
            used |= keys
            tally["detectors: calls that differ for a reason"] += 1
        else:
            wrong.append(" | ".join(map(str, (name, call.name, call.args, call.note, difference))))
    assert not wrong, "\n".join(wrong)
    unused = sorted(explained.keys() - used)
    assert not unused
