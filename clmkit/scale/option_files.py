"""Files of options, YAML or JSON, as words of the command line, which gives each its type."""

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

FILES = (".yaml", ".yml", ".json")
SWITCHES = {"on": "true", "off": "false"}  # which YAML has, and the parser of words has not
NO_OF = {"report_to": "none"}
NAMES = ("data", "model", "text_column", "data_config", "data_revision")  # of things, which may be called "on"


class Option(NamedTuple):
    """One option of a file: its name, its value, and the value as it is written."""

    name: str
    value: Any
    written: Any


class _Yaml(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML has no types
    """YAML in which 1e-6 is a number, as it is in JSON and Python; PyYAML wants 1.0e-6."""


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def words_of_file(name: str) -> list[str]:
    """The options of a file as words of the command line.

    A value is passed on as it is written: ``data_config: no`` is the Norwegian one, and a ``data_revision`` of digits
    keeps its zeros. Of what is to be done, and when, ``no``, ``off`` and ``false`` all say no. An option without a
    value, or with ``null``, counts as not given.

    Raises:
        ValueError: If the file is no mapping of options, is not UTF-8, or has an option twice.
        FileNotFoundError: If it is not there.
    """
    path = Path(name)
    if path.suffix not in FILES:
        raise ValueError(f"{name!r} is neither an option nor a .yaml or .json file of options")
    try:
        text = path.read_text(encoding="utf-8-sig")
        options = _read_json(text) if path.suffix == ".json" else _read_yaml(text)
    except UnicodeDecodeError as error:
        raise ValueError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except (json.JSONDecodeError, yaml.YAMLError) as error:
        problem = " ".join(str(error).split())
        raise ValueError(f"{name}: malformed: {problem}") from error
    if options is None:
        raise ValueError(f"{name}: must hold options and their values, such as `rows: 1000`")
    _check_once(name, options)
    return [word for option in options if option.value is not None for word in _words(option)]


def _read_json(text: str) -> list[Option] | None:
    pairs = json.loads(text, object_pairs_hook=_Pairs)
    if not isinstance(pairs, _Pairs):
        return None
    return [Option(name, _plain(value), _plain(value)) for name, value in pairs]


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON, in which a name may come twice."""


def _plain(value: Any) -> Any:
    return {name: _plain(part) for name, part in value} if isinstance(value, _Pairs) else value


def _read_yaml(text: str) -> list[Option] | None:
    loader = _Yaml(text)
    try:
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            return None
        return [
            Option(str(name.value), loader.construct_object(value, deep=True), _written(value))
            for name, value in node.value
        ]
    finally:
        loader.dispose()


def _written(node: yaml.Node) -> Any:
    return [part.value for part in node.value] if isinstance(node, yaml.SequenceNode) else node.value


def _check_once(file: str, options: Iterable[Option]) -> None:
    seen: dict[str, Any] = {}
    for name, value, _ in options:
        key = name.replace("-", "_")
        if key in seen:
            raise ValueError(f"{file}: {name} is there twice, with {seen[key]!r} and {value!r}: leave one out")
        seen[key] = value


def _words(option: Option) -> list[str]:
    name, value, written = option
    if isinstance(value, list):
        return [f"--{name}", *map(str, written)]
    return [f"--{name}={_word(name.replace('-', '_'), value, written)}"]  # a value may begin with a hyphen


def _word(name: str, value: Any, written: Any) -> str:
    if isinstance(value, dict):
        return json.dumps(value)
    if value is False and (name.endswith("_strategy") or name in NO_OF):
        return NO_OF.get(name, "no")
    word = str(written)
    return SWITCHES.get(word.lower(), word) if isinstance(value, bool) and name not in NAMES else word
