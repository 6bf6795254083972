"""Parser of objectives and constraints, such as `outside_english - 0.1 * kept`.

    constraint: sum (">=" | "<=") sum
    sum:        product (("+" | "-") product)*
    product:    factor ("*" factor)*
    factor:     "-" factor | "(" sum ")" | number | "kept" | "sparsity" | "dense"
                | ("min" | "max") "(" sum "," sum ")" | "log" "(" sum ")"
                | GROUP | METRIC "(" GROUP ")" | TASK "." METRIC "(" GROUP ")"

GROUP is outside_english, all, worst, english, a language, a pair, `script:Latn` or `class:2`. `dense` is allowed on the
right side of a constraint: the value of its left side for the dense model.

Python's `ast` reads the text; nothing is evaluated, and every node that is not listed here is refused. Names may be
words of Python, as the language `is`, and have hyphens and colons, as `pt-BR`. So `ast` gets a text with an underscore
for each of their characters, and the names follow from the positions.
"""

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mlprune.capabilities.search.strategy import objective
from mlprune.errors import RecipeError, nearest_names

MAX_DEPTH = 50
"""Most parentheses and signs inside each other."""
MAX_CHARACTERS = 4_000
EXPECTED_SYMBOLS = "numbers, names, + - * ( ) , . >= <="
_NAME = re.compile(r"[^\W\d]\w*(?:[-:]\w+)*")
_TOKEN = re.compile(rf"\s+|(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w)|{_NAME.pattern}|>=|<=|\*(?!\*)|[-+(),.]")
_WORD_NODES: Mapping[str, objective.Node] = {
    "kept": objective.Share("kept"),
    "sparsity": objective.Share("sparsity"),
    "dense": objective.Dense(),
}
_WORDS = (*objective.WHOLE_GROUPS, "english", *_WORD_NODES, *objective.N_ARGUMENTS, *objective.METRIC_NAMES)
_OPERATORS: Mapping[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply"}
_RELATIONS: Mapping[type[ast.cmpop], Literal[">=", "<="]] = {ast.GtE: ">=", ast.LtE: "<="}


def parse_objective(text: str) -> objective.Expression:
    """Parse the number that a search maximises or minimises.

    Raises:
        RecipeError: the text is not an expression, has the word `dense`, or depends on neither a measure nor the share
            of weights kept. The message has the position in the text, what was expected and what was found.
    """
    reader = _Reader.of(text)
    expression = objective.Expression(reader.node(reader.tree))
    if not expression.measures and not expression.reads_kept and not expression.reads_dense:
        raise RecipeError("an objective is a constant", text=text, expected="a group, a metric, kept or sparsity")
    reader.refuse_dense(expression)
    return expression


def parse_constraint(text: str) -> objective.Constraint:
    """Parse a constraint on a trial.

    Raises:
        RecipeError: the text is not two expressions with >= or <= between them, has the word `dense` on the left, or
            its left side is a constant.
    """
    reader = _Reader.of(text)
    if not isinstance(reader.tree, ast.Compare):
        raise reader.error(">= or <= between two expressions", len(text.rstrip()))
    if len(reader.tree.ops) > 1:
        raise reader.error("one of >= and <=", _end(reader.tree.comparators[0]))
    left, right = (objective.Expression(reader.node(side)) for side in (reader.tree.left, reader.tree.comparators[0]))
    reader.refuse_dense(left)
    if not left.measures and not left.reads_kept:
        raise RecipeError("the left side is a constant", text=text, expected="a group, a metric, kept or sparsity")
    return objective.Constraint(left, _RELATIONS[type(reader.tree.ops[0])], right)


@dataclass(frozen=True)
class _Reader:
    """A text, the tree that Python's parser makes of it, and the names in the text."""

    text: str
    tree: ast.expr
    names: Mapping[int, str]
    """Offset -> the name that begins there."""

    @classmethod
    def of(cls, text: str) -> "_Reader":
        """Parse a text.

        Raises:
            RecipeError: it is too long, has a character that belongs to nothing, or is not an expression.
        """
        if len(text) > MAX_CHARACTERS:
            message = "an expression is too long"
            raise RecipeError(message, expected=f"at most {MAX_CHARACTERS} characters", got=len(text))
        plain, start = "", 0
        names: dict[int, str] = {}
        while start < len(text):
            match = _TOKEN.match(text, start)
            if match is None:
                raise cls(text, ast.Constant(None), names).error(EXPECTED_SYMBOLS, start)
            if _NAME.fullmatch(match[0]):
                names[start] = match[0]
                plain += "_" * len(match[0])
            else:
                plain += " " * len(match[0]) if match[0].isspace() else match[0]
            start = match.end()
        reader = cls(text, ast.Constant(None), names)
        reader.check_depth(plain)
        padding = len(plain) - len(plain.lstrip())
        try:
            tree = ast.parse(plain.strip(), mode="eval").body
        except SyntaxError as err:
            offset = padding + (err.offset - 1 if err.offset else len(plain.strip()))
            offset = next(
                (start for start, name in names.items() if "-" in name and start + len(name) == offset), offset
            )
            raise reader.error("a number, a group, a metric, kept, sparsity, ( or an operator", offset) from err
        for node in ast.walk(tree):
            if isinstance(node, ast.expr):
                node.col_offset += padding
                node.end_col_offset = _end(node) + padding
        return cls(text, tree, names)

    def check_depth(self, plain: str) -> None:
        """Check how deep parentheses and signs are inside each other."""
        depth = 0
        for match in re.finditer(r"[()]|(?:-\s*){2,}", plain):
            depth += {"(": 1, ")": -1}.get(match[0], 0)
            if depth > MAX_DEPTH or match[0].count("-") > MAX_DEPTH:
                raise self.error(f"at most {MAX_DEPTH} parentheses inside each other", match.start())

    def node(self, tree: ast.expr) -> objective.Node:
        """Return the expression of a part of the tree.

        Raises:
            RecipeError: it is something else than an expression.
        """
        match tree:
            case ast.Constant(value=int() | float() as value):
                return objective.Number(float(value))
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return objective.Operation("negative", (self.node(operand),))
            case ast.BinOp(op=operator, left=left, right=right) if type(operator) in _OPERATORS:
                return objective.Operation(_OPERATORS[type(operator)], (self.node(left), self.node(right)))
            case ast.Name():
                name = self.names[tree.col_offset]
                return _WORD_NODES.get(name) or objective.Measure(None, None, self._group(tree))
            case ast.Call(func=ast.Name() | ast.Attribute(value=ast.Name()), keywords=[]):
                return self._call(tree)
            case ast.Compare(left=left):
                raise self.error("an operator or the end", _end(left))
        raise self.error("a number, a group, a metric, kept, sparsity or (", tree.col_offset)

    def _call(self, call: ast.Call) -> objective.Node:
        """Return a function of other nodes, or a measure, of a task if the call names one."""
        first, last = call.func.col_offset, max(offset for offset in self.names if offset < _end(call.func))
        name = self.names[first]
        if first == last and name in objective.N_ARGUMENTS:
            return objective.Operation(
                name, tuple(self.node(one) for one in self._arguments(call, objective.N_ARGUMENTS[name]))
            )
        return objective.Measure(
            None if first == last else name, self._metric(last), self._group(*self._arguments(call, 1))
        )

    def _arguments(self, call: ast.Call, n: int) -> list[ast.expr]:
        if len(call.args) != n:
            last = _end(call.args[min(n, len(call.args)) - 1]) if call.args else _end(call) - 1
            raise self.error(f"{n} in parentheses", last)
        return call.args

    def _metric(self, offset: int) -> str:
        if self.names[offset] not in objective.METRIC_NAMES:
            raise self.error(f"a metric: {', '.join(objective.METRIC_NAMES)}", offset)
        return self.names[offset]

    def _group(self, tree: ast.expr) -> objective.Group:
        name = self.names.get(tree.col_offset, "") if isinstance(tree, ast.Name) else ""
        group = None if name in objective.METRIC_NAMES else objective.parse_group(name)
        if group is None:
            example = f"a group after the metric, such as {name}(all)"
            raise self.error(example if name in objective.METRIC_NAMES else objective.EXPECTED_GROUPS, tree.col_offset)
        return group

    def refuse_dense(self, expression: objective.Expression) -> None:
        """Refuse the word `dense` where it has no meaning.

        Raises:
            RecipeError: the expression has it.
        """
        if expression.reads_dense:
            position = next(offset for offset, name in self.names.items() if name == "dense") + 1
            where = "dense on the right side of a constraint only, such as english >= dense - 0.01"
            raise RecipeError("dense has no meaning here", text=self.text, position=position, expected=where)

    def error(self, expected: str, offset: int) -> RecipeError:
        """Return the error for the first word or symbol at or after an offset."""
        rest = self.text[offset:]
        position = offset + len(rest) - len(rest.lstrip())
        got = self.names.get(position) or self.text[position : position + 1] or "the end"
        hint: dict[str, str] = {}
        if position in self.names:
            nearest = nearest_names(got, _WORDS)
            hint = {"nearest": nearest[0]} if nearest else {}
            if "-" in got:
                hint = {"hint": "write a minus with a space on both sides"}
        position = min(position, len(self.text.rstrip())) + 1
        message = "cannot read the expression"
        return RecipeError(message, text=self.text, position=position, expected=expected, got=got, **hint)


def _end(node: ast.expr) -> int:
    """Return the offset after a part of the text."""
    return node.end_col_offset or node.col_offset
