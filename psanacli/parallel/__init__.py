"""Work on blocks, in order, by one worker, by threads or by MPI ranks.

>>> from psanacli.parallel import Team, run_ordered
>>> team = Team.from_options(jobs=2)
>>> squares = []
>>> run_ordered(range(4), lambda n: n * n, lambda n, square: squares.append(square), team)
>>> squares
[0, 1, 4, 9]

`run_ordered(jobs, work, place, team)` calls `work(job)` in any worker and `place(job, result)` in one place (the main
thread; of rank 0), in the order of the jobs. So results do not depend on the number of workers. All ranks make the
same call; in the others `jobs` and `place` are not used. The number of results that wait is bounded: a job is dealt
when an earlier one has been placed. What has to be made before anything is placed, `prepare`, is made while the first
jobs are worked on.

Under MPI a job and its result are pickled. What is large in a result should be numpy arrays (or `pickle.PickleBuffer`),
which travel without a copy; `bytes` are copied.

**Failure.** The first exception of any worker is raised by `run_ordered` in the main thread (of rank 0), and no more
jobs begin. Under MPI all other ranks have to be ended then, or they would wait for ever: the command line does so
through `end_all` (and through `end_well` when nothing failed), and in other programs `sys.excepthook` does. So whoever
fails, the job ends with one message.
"""

from psanacli.parallel.job import end_all, end_well, join, leave, stay_alone
from psanacli.parallel.launcher import Launched, launched
from psanacli.parallel.order import run_ordered
from psanacli.parallel.team import Team, one_voice

__all__ = [
    "Launched",
    "Team",
    "end_all",
    "end_well",
    "join",
    "launched",
    "leave",
    "one_voice",
    "run_ordered",
    "stay_alone",
]
