"""What every command shares: option groups, and exceptions turned into exit codes.

A parameter whose annotation is a record becomes one option per field of that record, so that
the machine, the workload and the constraints are declared once and read by every command that takes them.
"""

import errno
import functools
import inspect
import os
import sys
import traceback
import typing
from collections.abc import Callable
from pathlib import Path

import msgspec
import typer

from planner.errors import PlannerError, UsageError

Groups = dict[str, type[msgspec.Struct]]
BUG_EXIT_CODE = 3
INTERRUPT_EXIT_CODE = 130
# What a full disk behind stdout says: no space, over quota, larger than allowed, a device that fails.
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Make a Typer command of `function`: expand its option groups, map its outcome to an exit code."""
    parameters, groups = _flatten(function)

    @functools.wraps(function)
    def run(**values: object) -> None:
        code = _guarded(function, _gather(values, groups))
        if code:
            raise typer.Exit(code)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _flatten(function: Callable[..., int | None]) -> tuple[list[inspect.Parameter], Groups]:
    hints = typing.get_type_hints(function, include_extras=True)
    parameters: list[inspect.Parameter] = []
    groups: Groups = {}
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            groups[parameter.name] = hint
            parameters += _fields_as_parameters(hint)
        else:
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
    return parameters, groups


def _fields_as_parameters(group: type[msgspec.Struct]) -> list[inspect.Parameter]:
    hints = typing.get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hints[name])
        for name, default in zip(group.__struct_fields__, group.__struct_defaults__, strict=True)
    ]


def _gather(values: dict[str, object], groups: Groups) -> dict[str, object]:
    gathered = dict(values)
    for name, group in groups.items():
        gathered[name] = group(**{field: gathered.pop(field) for field in group.__struct_fields__})
    return gathered


def _guarded(function: Callable[..., int | None], arguments: dict[str, object]) -> int:
    """Call, and turn what it raises into one message and one code."""
    try:
        return _call(function, arguments)
    except PlannerError as error:
        _say(f"error: {error.message}")
        if error.hint:
            _say(f"  hint: {error.hint}")
        return error.exit_code
    except KeyboardInterrupt:
        _say("interrupted")
        return INTERRUPT_EXIT_CODE
    except BrokenPipeError:
        # The reader of our output went away (`planner … | head`): nothing to report, nothing to flush.
        _drop_output()
        return 0
    except (typer.Exit, typer.Abort):
        raise
    except OSError as error:
        if error.errno not in _NO_ROOM or error.filename is not None:
            return _bug(error)
        _drop_output()
        _say(f"error: cannot write the output: {error.strerror}")
        return PlannerError.exit_code
    except Exception as error:  # noqa: BLE001 - the one place where a bug becomes exit code 3
        return _bug(error)


def _call(function: Callable[..., int | None], arguments: dict[str, object]) -> int:
    code = function(**arguments) or 0
    sys.stdout.flush()  # here, where what goes wrong is told
    return code


def _bug(error: Exception) -> int:
    _say(f"bug: {type(error).__name__}: {error}")
    _say(f"  the full trace is in {_write_log()}; please report it")
    return BUG_EXIT_CODE


def _drop_output() -> None:
    """What is still buffered goes nowhere: Python would try to write it once more at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _say(text: str) -> None:
    print(text, file=sys.stderr)


def _write_log() -> str:
    log = state_folder() / "logs" / "last-bug.txt"
    trace = traceback.format_exc()
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(trace, encoding="utf-8")
    except OSError:
        _say(trace)
        return "the lines above"
    return str(log)


def state_folder() -> Path:
    """`$XDG_STATE_HOME/planner`: logs, calibrations, the last plan."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "planner"


def exclusive(**options: object) -> None:
    """Refuse two of the given options together; keys are option names with underscores. Raises UsageError."""
    given = [f"--{name.replace('_', '-')}" for name, value in options.items() if value]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} contradict each other", hint=f"give one: {given[0]} or {given[1]}")
