"""TOML files to frozen dataclasses, with messages that name the file and the key."""

from __future__ import annotations

import tomllib
from dataclasses import MISSING, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")


class ConfigError(ValueError):
    """A TOML file that says something that is not known or not possible."""


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    try:
        with path.open("rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}). Check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.") from error


def read_table(kind: type[T], table: Any, path: Path, where: str = "") -> T:
    """A frozen dataclass from a table, its keys and types checked.

    Parameters
    ----------
    kind : type
        The dataclass. A field of type ``Path`` becomes the file's folder.
    table : Any
        What the file holds.
    path : Path
        The file, for messages.
    where : str
        The table's place in it, for messages.

    Raises
    ------
    ConfigError
        When a key is unknown or missing, or a value is of another type or impossible.
    """
    place = f"{path}, {where}" if where else str(path)
    if not isinstance(table, dict):
        raise ConfigError(f"{place}: a table of keys and values is expected, not {table!r}.")
    hints = get_type_hints(kind)
    # where the file lies is not for the file to say
    known = {item.name: item for item in fields(cast("Any", kind)) if hints[item.name] is not Path}
    if unknown := sorted(table.keys() - known.keys()):
        raise ConfigError(f"{place}: {unknown[0]!r} is not known. Known are {', '.join(known)}.")
    required = [n for n, f in known.items() if f.default is f.default_factory is MISSING]
    if missing := [name for name in required if name not in table]:
        several = get_origin(hints[missing[0]]) is tuple
        name = f"[[{missing[0]}]]" if several else repr(missing[0])
        raise ConfigError(f"{place}: {name} is missing.")
    values = {
        name: read_value(hints[name], value, path, f"{where}.{name}" if where else name)
        for name, value in table.items()
    }
    if Path in hints.values():
        values["folder"] = path.absolute().parent
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{place}: {error}") from error


def read_value(kind: Any, value: Any, path: Path, where: str) -> Any:
    """A value of a type; lists are tuples, and a single text may stand for a list of one."""
    if hasattr(kind, "__dataclass_fields__"):
        return read_table(kind, value, path, where)
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        if isinstance(value, list) and (inner[-1] is ... or len(inner) == len(value)):
            return tuple(
                read_value(inner[0], one, path, f"{where}[{index + 1}]")
                for index, one in enumerate(value)
            )
    elif kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    elif kind in (int, str, bool) and type(value) is kind:
        return value
    elif kind == float | tuple[str, ...]:  # the share or the names that validate
        if isinstance(value, int | float):
            return read_value(float, value, path, where)
        return read_value(
            tuple[str, ...], [value] if isinstance(value, str) else value, path, where
        )
    raise ConfigError(f"{path}: {where} is {value!r}, but {_described(kind)} is expected.")


def _described(kind: Any) -> str:
    if get_origin(kind) is tuple:
        inner = get_args(kind)
        count = "a list" if inner[-1] is ... else f"a list of {len(inner)}"
        return f"{count}, each of it {_described(inner[0])}"
    names: Mapping[Any, str] = {
        int: "a whole number", float: "a number", str: "a text in quotes", bool: "true or false"
    }  # fmt: skip
    return names.get(kind, "a table")
