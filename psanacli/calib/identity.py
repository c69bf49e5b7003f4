"""Which camera it was: serial numbers and the like from configuration objects, in the facility's spelling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_EPIX = ("version", "carrierId0", "carrierId1", "digitalCardId0", "digitalCardId1", "analogCardId0", "analogCardId1")


def identity(config: Mapping[str, Any]) -> str:
    """Return what tells a camera from others of its kind, empty when the configuration has nothing like that.

    Parameters
    ----------
    config : mapping
        The values of a configuration object by name, nested ones as mappings and lists.

    Returns
    -------
    str
        ePix: version, carrier, digital and analog cards, ten digits each; several panels joined with ``_``.
        Jungfrau: module version, firmware and serial number in hexadecimal, modules joined with ``_``.
        Other cameras: their serial number.
    """
    modules = config.get("moduleConfig")
    if isinstance(modules, Sequence) and modules:
        count = int(config.get("numberOfModules", len(modules)))
        return "_".join(_jungfrau(module) for module in modules[:count])
    panels = config.get("elemCfg")
    if isinstance(panels, Sequence) and panels:
        return "_".join(_epix({**panel, **_cards(config)}) for panel in panels)
    if "carrierId0" in config:
        return _epix(config)
    serial = config.get("serialNumber", "")
    text = serial.decode("latin-1") if isinstance(serial, bytes) else str(serial)
    return text.rstrip("\0").strip()


def _jungfrau(module: Mapping[str, Any]) -> str:
    keys = ("moduleVersion", "firmwareVersion", "serialNumber")
    return "-".join(f"{int(module[key]):x}" for key in keys)


def _epix(values: Mapping[str, Any]) -> str:
    return "-".join(f"{int(values.get(key, 0)):010d}" for key in _EPIX)


def _cards(config: Mapping[str, Any]) -> dict[str, Any]:
    quads = config.get("quad")
    first = quads[0] if isinstance(quads, Sequence) and quads else quads
    return {key: first[key] for key in _EPIX[3:5] if isinstance(first, Mapping) and key in first}
