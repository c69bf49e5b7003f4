"""The language of selections: text to a tree, with the place of every part.

The grammar is a small piece of Python's, so that what people guess is right: ``or``, ``and``, ``not``, comparisons
(also chained, also ``in [...]``), ``+ - * / // % **``, calls, ``[...]`` for elements, names with dots.  In addition a
name in backticks, or in ``det('...')``, may have any letters.  Nothing is executed: the tree has numbers, texts, names
and calls, and what they mean is decided when it is bound to columns.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from psanacli.errors import UsageError
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
    Span,
)

MOST_LETTERS = 20_000
MOST_NESTED = 40
"""How many brackets may be open at once; the parser goes as deep."""
MOST_LEVELS = 200
"""How high the tree may be, a long sum for example; evaluation goes as deep."""

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>(?:0[xX][0-9a-fA-F]+|(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?))
    | (?P<name>[^\W\d]\w*)
    | (?P<ticked>`[^`\n]*`)
    | (?P<text>'[^'\n]*'|"[^"\n]*")
    | (?P<sign>\*\*|//|<=|>=|==|!=|<>|&&|\|\||[-+*/%<>()\[\],.:=&|!~^;@?\#$\\{}])
    | (?P<open>['"`])
    | (?P<other>\S)
    )""",
    re.VERBOSE,
)
_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_WORDS = ("and", "or", "not", "in")
_INSTEAD = {
    "=": "write == to compare",
    "<>": "write !=",
    "&&": "write and",
    "&": "write and; for bits of a number bits(x, mask)",
    "||": "write or",
    "|": "write or",
    "!": "write not",
    "~": "write not",
    "^": "write ** for a power",
    ":": "a name with colons is written in det('...') or epics('...')",
}


_Part = Callable[[], Node]


class _Token(NamedTuple):
    kind: str
    text: str
    span: Span


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    at = 0
    while match := _TOKEN.match(text, at):
        kind = match.lastgroup
        assert kind is not None
        word = match[kind]
        token = _Token(kind, word, match.span(kind))
        if kind == "open":
            raise ExpressionError("the quote is not closed", Place(text, (token.span[0], len(text))))
        if kind == "other":
            raise ExpressionError(f"{word!r} has no meaning here", Place(text, token.span))
        if kind == "name" and word.lower() in _WORDS:
            token = token._replace(kind="word", text=word.lower())
        if kind == "number" and found and found[-1].kind == "number" and found[-1].span[1] == token.span[0]:
            raise ExpressionError("that is no number", Place(text, (found[-1].span[0], token.span[1])))
        found.append(token)
        at = match.end()
    found.append(_Token("end", "", (len(text.rstrip()), len(text.rstrip()) + 1)))
    return found


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0

    @property
    def token(self) -> _Token:
        return self.tokens[self.at]

    def fail(self, message: str, span: Span | None = None, hint: str = "") -> NoReturn:
        raise ExpressionError(message, Place(self.text, span or self.token.span), hint)

    def unexpected(self, wanted: str) -> NoReturn:
        token = self.token
        if token.kind == "end":
            self.fail(f"the expression ends where {wanted} should follow")
        self.fail(f"{token.text!r} stands where {wanted} was expected", hint=_INSTEAD.get(token.text, ""))

    def take(self, *texts: str) -> _Token | None:
        """Go on if the next token is one of these signs or words."""
        token = self.token
        if token.kind in ("sign", "word") and token.text in texts:
            self.at += 1
            return token
        return None

    def need(self, sign: str, wanted: str) -> _Token:
        return self.take(sign) or self.unexpected(wanted)

    def above(self, *nodes: Node) -> int:
        """Return the level of a node above these."""
        level = 1 + max((node.level for node in nodes), default=0)
        if level > MOST_LEVELS:
            self.fail(f"the expression has more than {MOST_LEVELS} levels", nodes[-1].span)
        return level

    def whole(self) -> Node:
        if self.token.kind == "end":
            self.fail("the expression is empty", (0, 1))
        node = self.either()
        if self.token.kind != "end":
            self.unexpected("an operator or the end")
        return node

    def nested(self, part: _Part | None = None) -> Node:
        """Parse an expression, or a part of one, inside of another."""
        self.depth += 1
        if self.depth > MOST_NESTED:
            self.fail(f"more than {MOST_NESTED} brackets are open")
        node = (part or self.either)()
        self.depth -= 1
        return node

    def either(self) -> Node:
        return self.logic("or", self.both)

    def both(self) -> Node:
        return self.logic("and", self.negation)

    def logic(self, word: str, part: _Part) -> Node:
        parts = [part()]
        while self.take(word):
            parts.append(part())
        if len(parts) == 1:
            return parts[0]
        return Logic((parts[0].span[0], parts[-1].span[1]), self.above(*parts), word, tuple(parts))

    def negation(self) -> Node:
        signs = []
        while sign := self.take("not"):
            signs.append(sign)
        node = self.comparison()
        for sign in reversed(signs):
            node = Logic((sign.span[0], node.span[1]), self.above(node), "not", (node,))
        return node

    def comparison(self) -> Node:
        operands = [self.sum()]
        operators: list[str] = []
        while True:
            token = self.token
            negated = token.kind == "word" and token.text == "not" and self.tokens[self.at + 1].text.lower() == "in"
            if negated:
                self.at += 1
            sign = self.take(*_COMPARISONS, "in")
            if sign is None:
                break
            operators.append("not in" if negated else sign.text)
            operands.append(self.listing() if sign.text == "in" else self.sum())
        if not operators:
            return operands[0]
        span = operands[0].span[0], operands[-1].span[1]
        return Comparison(span, self.above(*operands), tuple(operators), tuple(operands))

    def listing(self) -> Node:
        opened = self.take("[", "(") or self.unexpected("a list such as [1, 2, 3]")
        end = "]" if opened.text == "[" else ")"
        items = self.several(end, f"{end!r} or another item of the list")
        span = opened.span[0], self.tokens[self.at - 1].span[1]
        return Listing(span, self.above(*items), tuple(items))

    def several(self, end: str, wanted: str) -> list[Node]:
        """Parse expressions between commas, and the bracket behind them."""
        items: list[Node] = []
        while not self.take(end):
            if items and not self.take(","):
                self.unexpected(wanted)
            if items and self.take(end):
                break
            items.append(self.nested())
        return items

    def sum(self) -> Node:
        return self.chain(self.product, "+", "-")

    def product(self) -> Node:
        return self.chain(self.signed, "*", "/", "//", "%")

    def chain(self, part: _Part, *signs: str) -> Node:
        node = part()
        while sign := self.take(*signs):
            right = part()
            span = node.span[0], right.span[1]
            node = Operation(span, self.above(node, right), sign.text, (node, right))
        return node

    def signed(self) -> Node:
        signs = []
        while sign := self.take("-", "+"):
            signs.append(sign)
        node = self.power()
        for sign in reversed(signs):
            if sign.text == "-":
                node = Operation((sign.span[0], node.span[1]), self.above(node), "-", (node,))
        return node

    def power(self) -> Node:
        base = self.element()
        if not self.take("**"):
            return base
        exponent = self.nested(self.signed)
        return Operation((base.span[0], exponent.span[1]), self.above(base, exponent), "**", (base, exponent))

    def element(self) -> Node:
        node = self.atom()
        while self.take("["):
            index: list[int | tuple[int | None, int | None, int | None]] = []
            while not index or self.take(","):
                index.append(self.index())
            end = self.need("]", "']'")
            node = Element((node.span[0], end.span[1]), self.above(node), node, tuple(index))
        return node

    def index(self) -> int | tuple[int | None, int | None, int | None]:
        numbers: list[int | None] = [self.whole_number()]
        while len(numbers) < 3 and self.take(":"):
            numbers.append(self.whole_number())
        if len(numbers) == 1:
            return numbers[0] if numbers[0] is not None else self.unexpected("the number of an element")
        first, stop, step = [*numbers, None][:3]
        if step is not None and step < 1:
            self.fail("a step of elements is 1 or more", self.tokens[self.at - 1].span)
        return first, stop, step

    def whole_number(self) -> int | None:
        sign = self.take("-")
        token = self.token
        if token.kind == "number" and token.text.isdecimal() and len(token.text) < 18:
            self.at += 1
            return -int(token.text) if sign else int(token.text)
        return self.unexpected("a whole number") if sign else None

    def atom(self) -> Node:
        token = self.token
        if token.kind == "number":
            self.at += 1
            return self.number(token)
        if token.kind == "text":
            self.at += 1
            return Constant(token.span, 1, token.text[1:-1], "text")
        if token.kind == "ticked":
            return self.name(self.part("a name"))
        if token.kind == "name":
            return self.named(token)
        opened = self.take("(")
        if opened is None:
            self.unexpected("a value")
        node = self.nested()
        if not self.take(")"):
            self.unexpected("')' or an operator")
        return node

    def number(self, token: _Token) -> Node:
        text = token.text.replace("_", "")
        value: int | float
        if text[:2] in ("0x", "0X"):
            value = int(text, 16)
        elif text.isdecimal() and len(text) < 20:
            value = int(text)
        else:
            value = float(text)
        following = self.token
        if following.kind in ("name", "word") and following.span[0] == token.span[1]:
            hint = "a name that begins with a digit is written in det('...')"
            self.fail("that is neither a number nor a name", (token.span[0], following.span[1]), hint)
        if isinstance(value, int) and value >= 1 << 63:
            value = float(value) if value.bit_length() < 1024 else math.inf
        if math.isinf(value):
            self.fail("the number is too large", token.span)
        return Constant(token.span, 1, value, type(value).__name__)

    def part(self, wanted: str) -> _Token:
        """Parse one part of a name."""
        token = self.token
        if token.kind == "ticked":
            token = token._replace(text=token.text[1:-1].strip())
            if not token.text:
                self.fail("the name is empty")
        elif token.kind not in ("name", "word"):
            self.unexpected(wanted)
        self.at += 1
        return token

    def named(self, token: _Token) -> Node:
        folded = token.text.lower()
        self.at += 1
        if folded in ("true", "false"):
            return Constant(token.span, 1, folded == "true", "bool")
        if not self.take("("):
            return self.name(token)
        arguments = self.several(")", "',' or ')'")
        span = token.span[0], self.tokens[self.at - 1].span[1]
        if folded == "det":
            only = arguments[0] if len(arguments) == 1 else None
            if not isinstance(only, Constant) or not isinstance(only.value, str) or not only.value.strip():
                self.fail("det(...) takes one name in quotes", span, "such as det('XppEndstation.0:Opal1000.1')")
            return self.name(_Token("name", only.value.strip(), span))
        return Call(span, self.above(*arguments), token.text, tuple(arguments))

    def name(self, first: _Token) -> Node:
        parts = [first]
        while self.take("."):
            parts.append(self.part("the name of a field"))
            if self.take("("):  # a field with an index, such as data(2)
                index = [self.whole_number()]
                while self.take(","):
                    index.append(self.whole_number())
                end = self.need(")", "the number of an element and ')'")
                if None in index:
                    self.fail("the index of a field is a number", end.span, "such as EBeam.data(2)")
                last = parts[-1]
                parts[-1] = last._replace(
                    text=f"{last.text}({','.join(map(str, index))})", span=(last.span[0], end.span[1])
                )
        if self.token.kind == "sign" and self.token.text == "(":
            self.fail("only functions are called", (first.span[0], self.token.span[1]))
        return Name((first.span[0], parts[-1].span[1]), 1, tuple(part.text for part in parts))


def parse(text: str) -> Node:
    """Return the tree of an expression.

    Raises
    ------
    ExpressionError
        It is wrong; the hint shows where.
    """
    if len(text) > MOST_LETTERS:
        raise UsageError(
            f"the expression has {len(text)} letters, {MOST_LETTERS} at most are allowed",
            "many single events are best given as a list of events",
        )
    return _Parser(text).whole()
