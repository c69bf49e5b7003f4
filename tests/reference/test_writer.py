"""The writer, compared with files that the facility's own classes wrote."""

import pytest

from psanacli.xtc import Datagram, walk_file


@pytest.mark.parametrize("run", ["simple", "multi", "area", "dark", "compressed", "types"])
def test_files_written_again_are_the_same(shared, tally, run):
    files = sorted((shared / "lcls1" / run / "xtc").rglob("*.xtc"))
    assert files
    for path in files:
        data = path.read_bytes()
        again = bytearray()
        for offset in walk_file(path).datagrams["offset"].tolist():
            again += bytes(Datagram.parse(data, offset))
        assert again == data
        tally["bytes written again"] += len(data)
