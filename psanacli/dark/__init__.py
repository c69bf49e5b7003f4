"""Dark runs: which events make which constants, one pass over them, and what comes out.

>>> from psanacli.dark import plan_dark, process
>>> from psanacli.parallel import Team
>>> plan = plan_dark(runs, "CxiDs1.0:Cspad.0")              # doctest: +SKIP
>>> result = process(plan, Team.from_options(jobs=2))       # doctest: +SKIP
>>> result.constants["pedestals"].shape                     # doctest: +SKIP
(32, 185, 388)
"""

from psanacli.dark.fill import process
from psanacli.dark.frames import Frames
from psanacli.dark.further import NOMINAL_GAINS, further_types, nominal_gains
from psanacli.dark.injection import low_gain_pedestals, with_low_gain
from psanacli.dark.modes import EPIX10KA_MODES, JUNGFRAU_MODES, GainMode
from psanacli.dark.picture import picture
from psanacli.dark.plan import METHODS, DarkPlan, ModePlan, plan_dark
from psanacli.dark.result import DarkResult, ModeResult

__all__ = [
    "EPIX10KA_MODES",
    "JUNGFRAU_MODES",
    "METHODS",
    "NOMINAL_GAINS",
    "DarkPlan",
    "DarkResult",
    "Frames",
    "GainMode",
    "ModePlan",
    "ModeResult",
    "further_types",
    "low_gain_pedestals",
    "nominal_gains",
    "picture",
    "plan_dark",
    "process",
    "with_low_gain",
]
