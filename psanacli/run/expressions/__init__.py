"""One language for choosing events, and for values made of several: in all commands and in the API.

``code(140) and EBeam.ebeamPhotonEnergy > 9490`` is parsed to a tree (`syntax`, `tree`), bound to columns (`bind`,
`columns`, `of_run`), and evaluated by blocks of events with numpy (`evaluate`, `values`, `functions`).
"""

from psanacli.run.expressions import tree
from psanacli.run.expressions.columns import Columns, JoinedTable, Source, Table, Whole
from psanacli.run.expressions.evaluate import Bound, Expression
from psanacli.run.expressions.functions import FUNCTIONS, LOOKUPS, SHIFT_MEANING, SHIFT_USAGE
from psanacli.run.expressions.of_run import EVENT_COLUMNS, RunColumns
from psanacli.run.expressions.syntax import parse
from psanacli.run.expressions.tree import ExpressionError
from psanacli.run.expressions.values import Value

__all__ = [
    "EVENT_COLUMNS",
    "FUNCTIONS",
    "LOOKUPS",
    "SHIFT_MEANING",
    "SHIFT_USAGE",
    "Bound",
    "Columns",
    "Expression",
    "ExpressionError",
    "JoinedTable",
    "RunColumns",
    "Source",
    "Table",
    "Value",
    "Whole",
    "parse",
    "tree",
]
