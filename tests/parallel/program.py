"""A verb with ways to fail, run by the tests under mpiexec: ``program.py SCENARIO [THREADS]``."""

import os
import signal
import sys
import time
import types

import click
import numpy as np

from psanacli.commands import main
from psanacli.errors import DataError, NotFoundError
from psanacli.parallel import Team, launched, run_ordered

BLOCKS = 30
RANK = launched().rank


def fill(n: int) -> dict[str, object]:
    """Make the result of block `n`: small things and large arrays."""
    time.sleep(0.003 * (n % 3))
    large = np.arange(n * 20_000, dtype="u4").reshape(-1, 20) ^ n
    return {"n": n, "large": large, "small": large[:5, :3], "text": b"x" * n}


def check(n: int, result: dict[str, object]) -> int:
    expected = fill(n)
    assert list(result) == list(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(result[name], value)
    return int(np.sum(expected["large"], dtype="u8"))


@click.command()
@click.argument("scenario")
@click.argument("threads", type=int, default=1)
def command(scenario: str, threads: int) -> None:
    """Run a scenario."""
    if scenario == "all ranks miss":
        raise NotFoundError("there is no run 7", "runs are 1 to 6")
    if scenario == "one rank misses" and RANK == launched().size - 1:
        raise NotFoundError("no such directory on this node")
    team = Team.from_options(threads)
    if scenario == "root fails in plan":
        team.once(lambda: 1 // 0)
    plan = team.once(lambda: list(range(BLOCKS)))
    sums = []

    def work(n: int) -> dict[str, object]:
        if n == 11:
            if scenario == "worker raises":
                raise DataError("damaged block 11", "leave it out")
            if scenario == "worker has a bug":
                return {}["missing"]
            if scenario == "worker is killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if scenario == "hang":
                click.echo("hanging", err=True)
                time.sleep(60)
        if scenario == "all workers raise":
            raise DataError("everything is damaged")
        return fill(n)

    def place(n: int, result: dict[str, object]) -> None:
        if scenario == "root raises" and n == 11:
            raise OSError(28, "No space left on device")
        if scenario == "root is killed" and n == 11:
            os.kill(os.getpid(), signal.SIGKILL)
        assert prepared
        sums.append((n, check(n, result)))

    prepared: list[int] = []
    for _ in range(2):  # a second round begins while workers may still end the first
        prepared.clear()
        run_ordered(plan if team.is_root else (), work, place, team, lambda: prepared.append(RANK))
    if scenario == "root ends with an error" and team.is_root:
        raise DataError("some data are damaged")
    if scenario == "root ends with a code" and team.is_root:
        click.get_current_context().exit(4)
    click.echo(f"{len(sums)} {sums}")


main.VERBS.clear()
main.VERBS.update({"try": main.Entry("", parallel=True), "alone": main.Entry("")})
sys.modules["psanacli.commands.try"] = types.SimpleNamespace(command=command)  # type: ignore[assignment]
sys.modules["psanacli.commands.alone"] = sys.modules["psanacli.commands.try"]
sys.argv[1:1] = [] if sys.argv[1] in main.VERBS else ["try"]
main.main()
