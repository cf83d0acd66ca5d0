"""Metric math: arithmetic over the metrics of one period, for alarms and ``GetMetricData``.

What is here of CloudWatch's language: numbers, ids, ``+ - * / ^``, comparisons, ``&&`` and ``||``, and the functions
``ABS AVG CEIL FILL FLOOR IF MAX METRICS MIN SUM``. What is not is refused when the alarm is made.
"""

from __future__ import annotations

import ast
import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

MAX_LENGTH = 1_024  # characters, CloudWatch's own limit
Value = float | None | list[float]
"""A number; None where the metric has no data in the period; a list from METRICS() or an array."""


class ExpressionError(ValueError):
    """The expression is not understood."""


_OPERATORS: Mapping[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
_COMPARISONS: Mapping[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_OF_MANY: Mapping[str, Callable[[Sequence[float]], float]] = {
    "SUM": math.fsum,
    "AVG": lambda values: math.fsum(values) / len(values),
    "MIN": min,
    "MAX": max,
}
_OF_ONE: Mapping[str, Callable[[float], float]] = {"ABS": abs, "CEIL": math.ceil, "FLOOR": math.floor}
_ARGUMENTS = {**dict.fromkeys(_OF_MANY, 1), **dict.fromkeys(_OF_ONE, 1), "FILL": 2, "IF": 3, "METRICS": 0}


def evaluate(expression: str, metrics: Mapping[str, float | None]) -> float | None:
    """The value of an expression for one period; None where it has none, as where a divisor is 0.

    Raises:
        ExpressionError: the expression is not understood, or names an id that is not in ``metrics``.
    """
    value = _value(_parsed(expression), metrics)
    if isinstance(value, list):
        raise ExpressionError(f"{expression!r} gives several series; an alarm needs one")
    return value


@functools.lru_cache(maxsize=1_000)
def _parsed(expression: str) -> ast.expr:
    if len(expression) > MAX_LENGTH:
        raise ExpressionError(f"the expression has {len(expression)} characters; at most {MAX_LENGTH}")
    try:
        python = expression.replace("&&", " and ").replace("||", " or ").replace("^", "**")
        return ast.parse(python.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{expression!r} is no metric math expression: {error}") from error


def _value(node: ast.expr, metrics: Mapping[str, float | None]) -> Value:
    reader = _READERS.get(type(node))
    if reader is None:
        raise ExpressionError(f"{ast.unparse(node)!r} is not understood by the local AWS's metric math")
    return reader(node, metrics)


def _number(node: Any, metrics: Mapping[str, float | None]) -> Value:
    del metrics
    if isinstance(node.value, bool) or not isinstance(node.value, int | float):
        raise ExpressionError(f"{node.value!r} is no number")
    return float(node.value)


def _metric(node: Any, metrics: Mapping[str, float | None]) -> Value:
    if node.id not in metrics:
        raise ExpressionError(f"{node.id!r} is no id of a metric; they are {sorted(metrics)}")
    return metrics[node.id]


def _array(node: Any, metrics: Mapping[str, float | None]) -> Value:
    return [value for part in node.elts if isinstance(value := _value(part, metrics), float)]


def _operation(node: Any, metrics: Mapping[str, float | None]) -> Value:
    functions: Mapping[Any, Callable[..., Any]] = {**_OPERATORS, **_COMPARISONS, ast.USub: operator.neg, **_JOINS}
    kinds = node.ops if isinstance(node, ast.Compare) else [node.op]
    if len(kinds) != 1 or type(kinds[0]) not in functions:
        raise ExpressionError(f"{ast.unparse(node)!r} is not understood by the local AWS's metric math")
    if isinstance(node, ast.BinOp):
        parts = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        parts = [node.left, node.comparators[0]]
    else:
        parts = node.values if isinstance(node, ast.BoolOp) else [node.operand]
    return _computed(functions[type(kinds[0])], *(_value(part, metrics) for part in parts))


def _call(node: Any, metrics: Mapping[str, float | None]) -> Value:
    if not isinstance(node.func, ast.Name) or node.keywords:
        raise ExpressionError(f"{ast.unparse(node)!r} is not understood by the local AWS's metric math")
    return _called(node.func.id, node.args, metrics)


_JOINS: Mapping[type[ast.boolop], Callable[..., bool]] = {
    ast.And: lambda *parts: all(parts),
    ast.Or: lambda *parts: any(parts),
}
_READERS: Mapping[type[ast.expr], Callable[[Any, Mapping[str, float | None]], Value]] = {
    ast.Constant: _number,
    ast.Name: _metric,
    ast.List: _array,
    ast.UnaryOp: _operation,
    ast.BinOp: _operation,
    ast.Compare: _operation,
    ast.BoolOp: _operation,
    ast.Call: _call,
}


def _called(name: str, arguments: Sequence[ast.expr], metrics: Mapping[str, float | None]) -> Value:
    if name not in _ARGUMENTS:
        raise ExpressionError(f"{name} is no function of the local AWS's metric math; it has {sorted(_ARGUMENTS)}")
    if len(arguments) != _ARGUMENTS[name]:
        raise ExpressionError(f"{name} takes {_ARGUMENTS[name]} argument(s), not {len(arguments)}")
    values = [_value(argument, metrics) for argument in arguments]
    if name == "METRICS":
        return [value for value in metrics.values() if value is not None]
    if name == "IF":
        condition, then, otherwise = values
        return None if condition is None else then if condition else otherwise
    if name == "FILL":
        return values[1] if values[0] is None else values[0]
    (value,) = values
    if name in _OF_ONE:
        return _computed(_OF_ONE[name], value)
    several = value if isinstance(value, list) else [value] if value is not None else []
    return _OF_MANY[name](several) if several else None


def _computed(function: Callable[..., Any], *values: Value) -> Value:
    numbers = []
    for value in values:
        if value is None:
            return None
        if isinstance(value, list):
            raise ExpressionError("arithmetic on METRICS() or an array; wrap it in SUM, AVG, MIN or MAX")
        numbers.append(value)
    try:
        result = float(function(*numbers))
    except (ZeroDivisionError, OverflowError, TypeError, ValueError):
        return None
    return result if math.isfinite(result) else None
