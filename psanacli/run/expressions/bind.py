"""The names of an expression looked up: a tree becomes parts that can be evaluated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from psanacli.errors import PsanaError, UsageError, did_you_mean
from psanacli.run.expressions import values as of
from psanacli.run.expressions.columns import Columns, Source
from psanacli.run.expressions.functions import FUNCTIONS, LOOKUPS, SHIFT_MEANING, SHIFT_USAGE
from psanacli.run.expressions.parts import Applied, Fixed, Junction, Kept, Shifted
from psanacli.run.expressions.tree import (
    Call,
    Comparison,
    Constant,
    Element,
    ExpressionError,
    Listing,
    Logic,
    Name,
    Node,
    Operation,
    Place,
    pointed,
)
from psanacli.run.expressions.values import Value, either

_MANY_ITEMS = 8  # of a list, from which on it is sorted
_MOST_SHIFT = 1 << 40


class Binder:
    """Makes parts of nodes."""

    def __init__(self, text: str, columns: Columns) -> None:
        self.text = text
        self.columns = columns
        self.sources: dict[tuple[Any, ...], Source] = {}
        self.calculates = False

    def place(self, node: Node) -> Place:
        """Return where a node stands."""
        return Place(self.text, node.span)

    def find(self, node: Node, method: str, *arguments: Any) -> Source:
        """Look a column up, once for each name."""
        key = method, *arguments
        if key in self.sources:
            if not isinstance(self.sources[key], Kept):
                raise AssertionError("sources are kept")
            return self.sources[key]
        try:
            source = getattr(self.columns, method)(*arguments)
        except PsanaError as error:
            raise pointed(error, self.place(node)) from error
        self.sources[key] = Kept(source)
        return self.sources[key]

    def bind(self, node: Node) -> Source:
        """Return what evaluates a node."""
        match node:
            case Constant(value=value):
                return Fixed(value)
            case Name(parts=parts):
                return self.find(node, "column", parts)
            case Call():
                return self.call(node)
            case Operation(operator=operator, operands=operands):
                return self.operation(node, operator, operands)
            case Comparison(operators=operators, operands=operands):
                return self.comparison(node, operators, operands)
            case Logic(operator="not", operands=(operand,)):
                return Applied(
                    self.place(operand),
                    lambda count, values: of.inverted(of.condition(values[0], count)),
                    (self.bind(operand),),
                )
            case Logic(operator=word, operands=operands):
                return Junction(word, tuple((self.place(each), self.bind(each)) for each in operands))
            case Element(value=value):
                return self.element(node)
        raise ExpressionError("a list stands only behind in", self.place(node))

    def operation(self, node: Node, operator: str, operands: tuple[Node, ...]) -> Source:
        """Return what calculates with numbers."""
        if len(operands) == 1:
            return self.applied(
                node, lambda count, values: Value(of.negative(values[0].values), values[0].mask), operands
            )
        return self.applied(
            node,
            lambda count, values: Value(
                of.arithmetic(operator, values[0].values, values[1].values), either([value.mask for value in values])
            ),
            operands,
        )

    def applied(
        self,
        node: Node,
        function: Callable[[int, Sequence[Value]], Value],
        operands: Sequence[Node],
        strict: bool = True,
    ) -> Source:
        """Return what calculates a value of others; of constants at once."""
        part = Applied(self.place(node), function, tuple(map(self.bind, operands)), strict)
        if all(isinstance(each, Fixed) for each in part.parts) and operands:
            with np.errstate(all="ignore"):
                return Fixed(part.read(0, 1).values)
        self.calculates = True
        return part

    # --- comparisons --------------------------------------------------------------------------------------------

    def comparison(self, node: Node, operators: tuple[str, ...], operands: tuple[Node, ...]) -> Source:
        """Return a comparison; of a chain each pair, joined by ``and``."""
        parts: list[tuple[Place, Source]] = []
        for operator, left, right in zip(operators, operands, operands[1:], strict=False):
            place = Place(self.text, (left.span[0], right.span[1]))
            if isinstance(right, Listing):
                part = self.membership(place, left, right)
                if operator == "not in":
                    part = Applied(place, lambda count, values: of.inverted(values[0]), (part,))
                if right is not operands[-1]:
                    raise ExpressionError("nothing can follow a list", place)
            else:
                part = self.pair(place, operator, left, right)
            parts.append((place, part))
        return parts[0][1] if len(parts) == 1 else Junction("and", tuple(parts))

    def pair(self, place: Place, operator: str, left: Node, right: Node) -> Source:
        """Return the comparison of two."""
        sides = self.bind(left), self.bind(right)
        return _compared(place, operator, *self.in_words(sides))

    def in_words(self, sides: tuple[Source, Source]) -> tuple[Source, Source]:
        """Return the sides of a comparison; an enumeration beside a text is one of texts."""
        texts = [isinstance(side, Fixed) and isinstance(side.value, str) for side in sides]
        if texts[0] != texts[1]:
            other = sides[texts.index(False)]
            words = self.columns.as_text(other.source) if isinstance(other, Kept) else None
            if words is not None:
                return (sides[0], words) if texts[0] else (words, sides[1])
        return sides

    def membership(self, place: Place, left: Node, right: Listing) -> Source:
        """Return whether a value is one of a list."""
        value = self.bind(left)
        items = [self.bind(item) for item in right.items]
        numbers = [item.value for item in items if isinstance(item, Fixed) and of.kind_of(item.value) == "number"]
        if len(items) == len(numbers) > _MANY_ITEMS:
            return Applied(place, _among(numbers), (value,))
        parts = [
            (self.place(node), _compared(place, "==", *self.in_words((value, item))))
            for node, item in zip(right.items, items, strict=True)
        ]
        if not parts:
            return Applied(place, lambda count, values: Value(np.zeros(count, bool), values[0].mask), (value,))
        return parts[0][1] if len(parts) == 1 else Junction("or", tuple(parts))

    def element(self, node: Element) -> Source:
        """Return some elements of a value."""
        index = node.as_index()

        def some(count: int, values: Sequence[Value]) -> Value:
            value = values[0]
            shape = np.shape(value.values)[1:]
            if len(index) > len(shape):
                have = f"{len(shape)} dimensions" if shape else "one value"
                raise UsageError(f"there is {have} an event, and {len(index)} indices")
            for number, (each, size) in enumerate(zip(index, shape, strict=False)):
                if isinstance(each, int) and not -size <= each < size:
                    raise UsageError(f"there is no element {each}", f"dimension {number} has {size}")
            return Value(value.values[(slice(None), *index)], value.mask)

        return Applied(self.place(node), some, (self.bind(node.value),))

    # --- calls --------------------------------------------------------------------------------------------------

    def call(self, node: Call) -> Source:
        """Return what a function gives."""
        name = node.function.lower()
        if name == "shift":
            return self.shift(node)
        if name in LOOKUPS:
            return self.lookup(node, name)
        function = FUNCTIONS.get(name)
        if function is None:
            known = ["det", "shift", *LOOKUPS, *FUNCTIONS]
            hint = did_you_mean(name, known, f"there are {', '.join(sorted(known))}")
            raise ExpressionError(f"there is no function {node.function!r}", self.place(node), hint)
        if not function.least <= len(node.arguments) <= function.most:
            count = len(node.arguments)
            raise ExpressionError(
                f"{name} has {count} argument{'s' * (count != 1)}", self.place(node), f"write {function.usage}"
            )
        if name in ("present", "absent", "missing"):
            found = self.presence(node.arguments[0])
            if found is not None:
                if name == "present":
                    return found
                return Applied(self.place(node), lambda count, values: of.inverted(values[0]), (found,))
            return Applied(self.place(node), function.apply, tuple(map(self.bind, node.arguments)), strict=False)
        return self.applied(node, function.apply, node.arguments, strict=name not in ("default", "where"))

    def presence(self, argument: Node) -> Source | None:
        """Return presence of a detector; None if the argument is a value."""
        text = argument.value if isinstance(argument, Constant) else None
        parts = argument.parts if isinstance(argument, Name) else (text,) if isinstance(text, str) else None
        if parts is None:
            return None
        key = "present", parts
        if key not in self.sources:
            try:
                found = self.columns.present(parts)
            except PsanaError as error:
                raise pointed(error, self.place(argument)) from error
            if found is None:
                return self.present_value(argument, parts) if isinstance(text, str) else None
            self.sources[key] = Kept(found)
        return self.sources[key]

    def present_value(self, argument: Node, parts: tuple[str, ...]) -> Source:
        """Return in which events there is a value whose name is given as a text."""
        column = self.find(argument, "column", parts)
        return Applied(self.place(argument), FUNCTIONS["present"].apply, (column,), strict=False)

    def lookup(self, node: Call, name: str) -> Source:
        """Return a column that a function looks up."""
        lookup = LOOKUPS[name]
        found: Any = None
        if lookup.takes == "name?" and not node.arguments:
            return self.find(node, lookup.method, None)
        only = node.arguments[0] if len(node.arguments) == 1 else None
        if isinstance(only, Constant):
            wanted = int if lookup.takes == "number" else str
            found = only.value if type(only.value) is wanted else None
        elif isinstance(only, Name) and lookup.takes.startswith("name"):
            found = only.text
        if found is None or found == "":
            raise ExpressionError(f"{name} takes {_TAKES[lookup.takes]}", self.place(node), f"write {lookup.usage}")
        return self.find(only or node, lookup.method, found)

    def shift(self, node: Call) -> Source:
        """Return a value of other events."""
        place = self.place(node)
        if len(node.arguments) != 2:
            raise ExpressionError(
                "shift takes a value and a number of events", place, f"{SHIFT_USAGE}: {SHIFT_MEANING}"
            )
        by = self.bind(node.arguments[1])
        number = by.value if isinstance(by, Fixed) else None
        if isinstance(number, bool) or not isinstance(number, (int, np.integer)) or abs(int(number)) > _MOST_SHIFT:
            hint = f"{SHIFT_USAGE}: {SHIFT_MEANING}"
            raise ExpressionError("the second value of shift is a whole number, such as 1 or -1", place, hint)
        return Shifted(self.bind(node.arguments[0]), int(number), len(self.columns))


_TAKES = {
    "name": "the name of a detector",
    "name?": "the name of a detector, or nothing",
    "text": "a name in quotes",
    "number": "a whole number",
}


def _compared(place: Place, operator: str, left: Source, right: Source) -> Source:
    def function(count: int, values: Sequence[Value]) -> Value:
        result = of.compared(operator, values[0].values, values[1].values)
        return Value(result, either([value.mask for value in values]))

    part = Applied(place, function, (left, right))
    if isinstance(left, Fixed) and isinstance(right, Fixed):
        return Fixed(bool(part.read(0, 1).values))
    return part


def _among(numbers: list[Any]) -> Callable[[int, Sequence[Value]], Value]:
    """Return whether a value is one of many numbers."""
    whole = np.array([each for each in numbers if isinstance(each, (int, np.integer))], np.int64)
    others = np.array([each for each in numbers if not isinstance(each, (int, np.integer))], np.float64)

    def function(count: int, values: Sequence[Value]) -> Value:
        value = of.number(values[0].values)
        return Value(np.isin(value, whole) | np.isin(value, others), values[0].mask)

    return function
