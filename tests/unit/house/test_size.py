"""Sizes: what no longer fits a head is split."""

from __future__ import annotations

from support.source_tree import CODE, Function, functions, modules, offences

MODULE_LINES_MAX = 500
FUNCTION_LINES_MAX = 60
PARAMETERS_MAX = 6


def test_modules_are_short() -> None:
    lengths = {module.path: module.text.count("\n") for module in modules(*CODE)}
    offences(
        [
            f"{path}: {n} lines, {MODULE_LINES_MAX} at most"
            for path, n in lengths.items()
            if n > MODULE_LINES_MAX
        ]
    )


def test_functions_are_short() -> None:
    found = [
        f"{module.at(function)}: {function.name} has {_lines(function)} lines, {FUNCTION_LINES_MAX} at most"
        for module in modules(*CODE)
        for function in functions(module)
        if _lines(function) > FUNCTION_LINES_MAX
    ]
    offences(found)


def test_functions_take_few_parameters() -> None:
    found = [
        f"{module.at(function)}: {function.name} takes {_parameters(function)} parameters, {PARAMETERS_MAX} at most; "
        "what belongs together is a dataclass"
        for module in modules("src", "bench", "tools")
        for function in functions(module)
        if _parameters(function) > PARAMETERS_MAX
    ]
    offences(found)


def _lines(function: Function) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def _parameters(function: Function) -> int:
    own = function.args
    names = [argument.arg for argument in (*own.posonlyargs, *own.args, *own.kwonlyargs)]
    return len([name for name in names if name not in {"self", "cls"}])
