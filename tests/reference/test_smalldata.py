"""Proxies of the facility's small-data files, followed into the big files."""

import zlib

from psanacli.xtc import ContributionFlag, big_file_of, proxies_in, read_proxy, walk_file


def test_every_proxy_gives_the_object_of_the_big_file(shared, tally):
    proxies = 0
    for small in sorted((shared / "lcls1").rglob("*.smd.xtc")):
        table = walk_file(small)
        damaged = small.parent.parent.name == "damaged"
        assert damaged or (not table.problems and table.end == table.size)
        data = small.read_bytes()
        big = big_file_of(small)
        assert big.parent == small.parent.parent
        everything = big.read_bytes()
        for row in table.datagrams:
            for contribution in table.patterns[row["pattern"]]:
                if not contribution["flags"] & ContributionFlag.PROXY:
                    continue
                proxy = proxies_in(data, int(row["offset"] + contribution["offset"]))[0]
                if damaged and proxy["offset"] + proxy["extent"] > len(everything):
                    continue
                payload = read_proxy(big, proxy)
                at = int(proxy["offset"])
                assert len(payload) == contribution["extent"] - 20
                assert zlib.crc32(payload) == zlib.crc32(everything[at + 20 : at + int(proxy["extent"])])
                proxies += 1
                tally["proxies followed"] += 1
    assert proxies > 500
