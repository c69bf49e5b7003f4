"""The rank of this process, if an MPI launcher started it.

The answer comes from the environment alone, so that a process that no launcher started never loads MPI.
"""

from __future__ import annotations

import os
from typing import NamedTuple

#: Variables with rank and number of ranks, as the launchers set them. Slurm's own SLURM_PROCID and SLURM_NTASKS are
#: also set for the batch script itself, which is no rank, and for steps without MPI; so of Slurm only what its MPI
#: plugins (PMI, PMIx) set counts.
_VARIABLES = (
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),  # Open MPI
    ("PMI_RANK", "PMI_SIZE"),  # MPICH, Intel MPI, Slurm with PMI
    ("MV2_COMM_WORLD_RANK", "MV2_COMM_WORLD_SIZE"),  # MVAPICH
    ("PMIX_RANK", "SLURM_STEP_NUM_TASKS"),  # Slurm with PMIx
)


class Launched(NamedTuple):
    """Rank of this process and number of ranks; 0 of 1 without a launcher."""

    rank: int
    size: int


def launched() -> Launched:
    """Return the rank and the number of ranks that a launcher gave to this process."""
    for rank, size in _VARIABLES:
        try:
            found = Launched(int(os.environ[rank]), int(os.environ[size]))
        except (KeyError, ValueError):
            continue
        if 0 <= found.rank < found.size:
            return found
    return Launched(0, 1)
