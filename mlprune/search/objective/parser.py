"""Parser of objectives and constraints, such as `outside_english - 0.1 * kept` and `english >= dense - 0.01`.

    constraint: sum (">=" | "<=") sum
    sum:        product (("+" | "-") product)*
    product:    factor ("*" factor)*
    factor:     "-" factor | "(" sum ")" | number | "kept" | "sparsity" | "dense"
                | ("min" | "max") "(" sum "," sum ")" | "log" "(" sum ")"
                | GROUP | METRIC "(" GROUP ")" | TASK "." METRIC "(" GROUP ")"

GROUP is outside_english, all, worst, english, a language, a pair, `script:Latn` or `class:2`. `dense` is allowed on the
right side of a constraint: the value of its left side for the dense model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from mlprune.errors import RecipeError, nearest_names
from mlprune.search.objective.expression import (
    N_ARGUMENTS,
    Constraint,
    Dense,
    Expression,
    Node,
    Number,
    Operation,
    Share,
)
from mlprune.search.objective.measure import EXPECTED_GROUPS, METRIC_NAMES, WHOLE_GROUPS, Group, Measure, parse_group
from mlprune.search.objective.tokens import Token, tokens_of

MAX_DEPTH = 50
"""Most parentheses inside each other."""
MAX_TOKENS = 200
_WORD_NODES: Mapping[str, Node] = {"kept": Share("kept"), "sparsity": Share("sparsity"), "dense": Dense()}
_WORDS = (*WHOLE_GROUPS, "english", *_WORD_NODES, *N_ARGUMENTS, *METRIC_NAMES)


def parse_objective(text: str) -> Expression:
    """Parse the number that a search maximises or minimises.

    Raises:
        RecipeError: the text is not an expression, has the word `dense`, or depends on neither a measure nor the share
            of weights kept. The message has the position in the text, what was expected and what was found.
    """
    parser = _parser(text)
    expression = parser.parse_sum()
    parser.expect_end()
    if expression.reads_dense:
        parser.refuse_dense()
    if not expression.measures and not expression.reads_kept:
        raise RecipeError("an objective is a constant", text=text, expected="a group, a metric, kept or sparsity")
    return expression


def parse_constraint(text: str) -> Constraint:
    """Parse a constraint on a trial.

    Raises:
        RecipeError: the text is not two expressions with >= or <= between them, has the word `dense` on the left, or
            its left side is a constant.
    """
    parser = _parser(text)
    left = parser.parse_sum()
    if left.reads_dense:
        parser.refuse_dense()
    if not left.measures and not left.reads_kept:
        raise RecipeError("the left side is a constant", text=text, expected="a group, a metric, kept or sparsity")
    relation = parser.take_relation()
    right = parser.parse_sum()
    parser.expect_end()
    return Constraint(left, relation, right)


def _parser(text: str) -> "_Parser":
    tokens = tokens_of(text)
    if len(tokens) > MAX_TOKENS:
        raise RecipeError("an expression is too long", expected=f"at most {MAX_TOKENS} numbers, names and symbols")
    return _Parser(text, tokens)


@dataclass
class _Parser:
    """A text and the number of tokens already read."""

    text: str
    tokens: tuple[Token, ...]
    n_read: int = 0
    depth: int = 0

    @property
    def next(self) -> Token:
        """The token that follows."""
        return self.tokens[self.n_read]

    def parse_sum(self) -> Expression:
        """Read a sum."""
        return Expression(self._sum())

    def take_relation(self) -> Literal[">=", "<="]:
        """Read >= or <=."""
        if self._skip(">="):
            return ">="
        if self._skip("<="):
            return "<="
        raise self._error(">= or <=")

    def expect_end(self) -> None:
        """Check that nothing follows."""
        if self.next.kind != "end":
            raise self._error("an operator or the end")

    def refuse_dense(self) -> NoReturn:
        """Raise the error of a `dense` that means nothing."""
        position = next(token.position for token in self.tokens if token.text == "dense")
        where = "dense on the right side of a constraint only, such as english >= dense - 0.01"
        raise RecipeError("dense has no meaning here", text=self.text, position=position, expected=where)

    def _sum(self) -> Node:
        node = self._product()
        while self.next.text in ("+", "-"):
            name = "add" if self._take().text == "+" else "subtract"
            node = Operation(name, (node, self._product()))
        return node

    def _product(self) -> Node:
        node = self._factor()
        while self._skip("*"):
            node = Operation("multiply", (node, self._factor()))
        return node

    def _factor(self) -> Node:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise self._error(f"at most {MAX_DEPTH} parentheses inside each other")
        node = self._nested_factor()
        self.depth -= 1
        return node

    def _nested_factor(self) -> Node:
        if self._skip("-"):
            return Operation("negative", (self._factor(),))
        if self._skip("("):
            node = self._sum()
            self._expect(")")
            return node
        if self.next.kind == "number":
            return Number(float(self._take().text))
        if self.next.kind == "name":
            return self._named()
        raise self._error("a number, a group, a metric, kept, sparsity or (")

    def _named(self) -> Node:
        token = self._take()
        if token.text in _WORD_NODES:
            return _WORD_NODES[token.text]
        if self._skip("."):
            return self._measure(token.text, self._metric(self._take_name("a metric")))
        if self.next.text != "(":
            return Measure(None, None, self._group(token))
        if token.text in N_ARGUMENTS:
            return self._function(token.text)
        return self._measure(None, self._metric(token))

    def _function(self, name: str) -> Node:
        self._expect("(")
        arguments = [self._sum()]
        while len(arguments) < N_ARGUMENTS[name]:
            self._expect(",")
            arguments.append(self._sum())
        self._expect(")")
        return Operation(name, tuple(arguments))

    def _measure(self, task: str | None, metric: str) -> Measure:
        self._expect("(")
        group = self._group(self._take_name(EXPECTED_GROUPS))
        self._expect(")")
        return Measure(task, metric, group)

    def _metric(self, token: Token) -> str:
        if token.text not in METRIC_NAMES:
            raise self._error(f"a metric: {', '.join(METRIC_NAMES)}", token)
        return token.text

    def _group(self, token: Token) -> Group:
        group = None if token.text in METRIC_NAMES else parse_group(token.text)
        if group is None:
            example = f"a group after the metric, such as {token.text}(all)"
            raise self._error(example if token.text in METRIC_NAMES else EXPECTED_GROUPS, token)
        return group

    def _take(self) -> Token:
        token = self.next
        self.n_read += 1
        return token

    def _take_name(self, expected: str) -> Token:
        if self.next.kind != "name":
            raise self._error(expected)
        return self._take()

    def _skip(self, symbol: str) -> bool:
        """Read a symbol if it follows."""
        is_next = self.next.kind == "symbol" and self.next.text == symbol
        self.n_read += is_next
        return is_next

    def _expect(self, symbol: str) -> None:
        if not self._skip(symbol):
            raise self._error(symbol)

    def _error(self, expected: str, token: Token | None = None) -> RecipeError:
        """The error for a token, by default the next one."""
        token = token or self.next
        hint: dict[str, str] = {}
        if token.kind == "name":
            nearest = nearest_names(token.text, _WORDS)
            hint = {"nearest": nearest[0]} if nearest else {}
            if "-" in token.text:
                hint = {"hint": "write a minus with a space on both sides"}
        got = token.text or "the end"
        return RecipeError(
            "cannot read the expression", text=self.text, position=token.position, expected=expected, got=got, **hint
        )
