"""Read configuration files, and refuse YAML whose meaning differs from what its writer sees.

PyYAML keeps the last of two equal keys, reads `007` as 7 and `on` as true, and takes minutes for a few lines of nested
aliases. Snakemake reads the files with it, so `check_snakemake_files` checks them first.
"""

import json
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import yaml

from pipeline.config.plain import MAX_DEPTH, MAX_VALUES
from pipeline.core.errors import ConfigError, Problem

MAX_BYTES = 2**20
_LONGEST_NUMBER = 40  # characters

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = {_TAG + name for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}
_DATE = _TAG + "timestamp"
_SECTIONS = ("datasets", "experiments", "store_gb")
_NAMED_ENTRIES = ("datasets", "experiments", "exclude")  # mappings whose keys are names
_NAMES = ("dataset", "labels", "classes")  # keys with a name, or with a mapping or list of names

# what other readers of YAML, such as editors, take for a number although PyYAML reads it as text
_OTHER_NUMBER = re.compile(r"[-+]?(?:0o[0-7]+|0x[0-9a-fA-F]+|(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?)")
_LEADING_ZERO = re.compile(r"([-+]?)0+([0-9][0-9_]*)")


def read(path: Path) -> dict[str, Any]:
    """Read a file in YAML or JSON.

    Parameters
    ----------
    path : Path

    Returns
    -------
    dict
        Plain data.

    Raises
    ------
    ConfigError
        If the file cannot be read or parsed, or its content is ambiguous; lists every ambiguity with its line.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        remedy = "name it with --config FILE"
        raise ConfigError(str(path), error.strerror or str(error), "a YAML file", remedy) from error
    if len(content) > MAX_BYTES:
        found, expected = f"more than {MAX_BYTES} bytes", "a configuration of at most 1 MiB"
        raise ConfigError(str(path), found, expected, "name the configuration; put long lists of samples into files")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found, expected = f"bytes that are not UTF-8, the first at position {error.start}", "YAML in UTF-8"
        raise ConfigError(str(path), found, expected, "save the file with the encoding UTF-8") from error
    data = parse_text(text, str(path))
    if not isinstance(data, dict):
        expected, remedy = "the keys `datasets` and `experiments`", "see docs/configuration.md"
        raise ConfigError(str(path), "nothing" if data is None else type(data).__name__, expected, remedy)
    return data


def parse_text(text: str, source: str) -> Any:  # noqa: ANN401 - plain data
    """Parse YAML or JSON; `source` is where it comes from, for messages.

    Raises
    ------
    ConfigError
    """
    is_json, data = _parse_json(text)
    if is_json:
        text = text.replace("\t", " ")  # JSON has no tabs in strings; YAML has none in indentation
    try:
        _require_shallow(text, source)
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            return None
        _require_small(root, source)
        if problems := {
            *_duplicate_keys(root, source),
            *_long_numbers(root, source),
            *_ambiguous_values(root, source),
        }:
            raise ConfigError(sorted(problems, key=lambda problem: (int(problem.where.rpartition(" ")[2]), problem)))
        return data if is_json else loader.construct_document(root)
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(_syntax_problem(error, source)) from error


def check_snakemake_files(words: Sequence[str], paths: Iterable[Path] = ()) -> None:
    """Check the configuration files of a Snakemake command, and the values of its option --config.

    Parameters
    ----------
    words : sequence of str
        The command line.
    paths : iterable of Path
        Further files.

    Raises
    ------
    ConfigError
        Listing the problems of all of them.
    """
    files = [*paths, *map(Path, _values_of(words, "--configfile", "--configfiles"))]
    entries = [entry.partition("=") for entry in _values_of(words, "--config", "-C")]
    problems: list[Problem] = []
    for path in {path.absolute(): path for path in files if path.is_file()}.values():
        try:
            read(path)
        except ConfigError as error:
            problems += error.problems
    for key, _, text in entries:
        if key not in _SECTIONS:
            continue
        try:
            parse_text(text, f"--config {key}=")
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)


def check_arguments_of_snakemake() -> None:
    """End this process with a message if a configuration on its command line is invalid; for profiles of Snakemake."""
    try:
        check_snakemake_files(sys.argv[1:])
    except ConfigError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _values_of(words: Sequence[str], *flags: str) -> Iterator[str]:
    """Yield the values of options that take several."""
    is_value = False
    for word in words:
        flag, equals, value = word.partition("=")
        if word.startswith("-"):
            is_value = flag in flags
            if is_value and equals:
                yield value
        elif is_value:
            yield word


def _parse_json(text: str) -> tuple[bool, Any]:
    try:
        return True, json.loads(text)
    except (ValueError, RecursionError):
        return False, None


def _require_shallow(text: str, source: str) -> None:
    """Refuse deep nesting, at which functions that call themselves would fail."""
    depth = 0
    for event in yaml.parse(text, _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            found, expected = f"more than {MAX_DEPTH} levels of nesting", "the keys of docs/configuration.md"
            raise ConfigError(_where(source, event), found, expected, "correct the brackets or the indentation")


def _require_small(root: yaml.Node, source: str) -> None:
    """Refuse aliases that stand for themselves or for too many values."""
    sizes: dict[int, int | None] = {}

    def size(node: yaml.Node) -> int:
        if id(node) not in sizes:
            sizes[id(node)] = None
            sizes[id(node)] = 1 + sum(map(size, _children(node)))
        known = sizes[id(node)]
        if known is None:
            found, expected = "an alias (`*name`) within the value that it stands for", "finite values"
            raise ConfigError(_where(source, node), found, expected, "write the value in place of the alias")
        if known > MAX_VALUES:
            found = f"more than {MAX_VALUES} values, with each alias (`*name`) counted as what it stands for"
            remedy = "use fewer aliases, or put long lists of samples into files"
            raise ConfigError(_where(source, node), found, f"at most {MAX_VALUES} values", remedy)
        return known

    size(root)


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for item in node.value for part in item]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def _unique_nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield a node and all below, each once although aliases may refer to it again."""
    nodes = {id(root): root}
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        for child in reversed(_children(node)):
            if id(child) not in nodes:
                nodes[id(child)] = child
                waiting.append(child)


def _duplicate_keys(root: yaml.Node, source: str) -> Iterator[Problem]:
    """List keys that a mapping has twice; keys that a merge (`<<`) adds are overridden by explicit ones."""
    for node in _unique_nodes(root):
        first_lines: dict[str, int] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            name = _canonical(key)
            if name in first_lines:
                remedy = (
                    "merge from a list: `<<: [*first, *second]`" if name == "<<" else "remove or rename one of them"
                )
                found = f"the key {key.value!r} a second time; the first is in line {first_lines[name]}"
                yield Problem(_where(source, key), found, "each key once", remedy)
            first_lines.setdefault(name, _line(key))


def _canonical(key: yaml.Node) -> str:
    """Return the same text for keys that are equal for Python or mean the same, such as 1, "1", 1.0, 0x1 and true."""
    if key.tag in (_TAG + "int", _TAG + "float", _TAG + "bool") and len(key.value) <= _LONGEST_NUMBER:
        try:
            value = yaml.safe_load(key.value)
            return str(int(value) if value == int(value) else value)
        except (yaml.YAMLError, OverflowError, ValueError):  # infinite, or not a number
            pass
    return str(key.value)


def _long_numbers(root: yaml.Node, source: str) -> Iterator[Problem]:
    """List numbers that Python refuses to read, or reads slowly."""
    for node in _unique_nodes(root):
        if node.tag in (_TAG + "int", _TAG + "float") and len(node.value) > _LONGEST_NUMBER:
            found, expected = f"a number of {len(node.value)} characters", f"at most {_LONGEST_NUMBER}"
            yield Problem(_where(source, node), found, expected, "correct the number")


def _ambiguous_values(root: yaml.Node, source: str) -> Iterator[Problem]:
    """List values that YAML reads as something else than they seem to be."""
    for configuration in _configurations(root):
        names = {id(node): node for node in _names(configuration)}
        for node in _unique_nodes(configuration):
            if isinstance(node, yaml.MappingNode):
                for key, value in node.value:
                    if node is not configuration and _is_empty(value):
                        yield _empty_value(key, value, source)
                        names.pop(id(value), None)
            if node.tag not in _KNOWN_TAGS and node.tag != _DATE:
                remedy = f"remove the tag `!{node.tag.removeprefix(_TAG)}`"
                yield Problem(_where(source, node), f"the tag {node.tag!r}", "plain values", remedy)
            elif problem := _ambiguity(node, id(node) in names):
                yield Problem(_where(source, node), *problem)


def _configurations(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the mappings with the keys of a configuration: the file, or a part of that of a larger workflow."""
    for node in _unique_nodes(root):
        if isinstance(node, yaml.MappingNode) and any(key.value in _SECTIONS for key, _ in node.value):
            yield node


def _names(configuration: yaml.Node) -> Iterator[yaml.Node]:
    """Yield the scalars that are names: of experiments, data sets, classes and excluded samples."""
    entries: set[int] = set()  # mappings whose keys are names, such as an experiment called `classes`, and no settings
    for node in _unique_nodes(configuration):
        for key, value in node.value if isinstance(node, yaml.MappingNode) and id(node) not in entries else ():
            if key.value in _NAMED_ENTRIES and isinstance(value, yaml.MappingNode):
                entries.add(id(value))
                yield from (name for name, _ in value.value)
            elif key.value in _NAMES:
                if isinstance(value, yaml.MappingNode):
                    yield from (part for _, part in value.value if not _is_null(part))  # null removes a label
                elif key.value == "dataset" or not _is_null(value):
                    yield from (value, *_children(value))


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == _TAG + "null"


def _is_empty(node: yaml.Node) -> bool:
    return _is_null(node) and node.value == ""


def _empty_value(key: yaml.Node, value: yaml.Node, source: str) -> Problem:
    if value.start_mark.index == key.end_mark.index:
        found, remedy = f"`{{{key.value}}}` without quotes, which YAML reads as a mapping", "write the text in quotes"
    else:
        found = f"nothing after `{key.value}:`"
        remedy = "add the value or remove the key; `null` removes an entry of an earlier file"
    return Problem(_where(source, key), found, "a value", remedy)


def _ambiguity(node: yaml.Node, is_name: bool) -> tuple[str, str, str] | None:
    """Return what is found, expected and advised for a scalar without quotes that is not what it seems to be."""
    if not isinstance(node, yaml.ScalarNode) or node.style in ("'", '"', "|", ">") or node.tag == _TAG + "merge":
        return None
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if len(text) > _LONGEST_NUMBER:  # text, or listed by `_long_numbers`
        return None
    if is_name and (kind != "str" or _OTHER_NUMBER.fullmatch(text)):
        meaning = {"bool": "true or false", "null": "nothing", "timestamp": "a date"}.get(kind, "a number")
        return f"the name {text or 'nothing'}, which YAML reads as {meaning}", "text", f'write it in quotes: "{text}"'
    if kind == "timestamp":
        return f"{text}, which YAML reads as a date", "text or a number", f'write it in quotes: "{text}"'
    if kind == "int" and (match := _LEADING_ZERO.fullmatch(text)):
        remedy = f'write {match[1]}{match[2]}, or in quotes if it is text: "{text}"'
        return f"{text}, which YAML reads as {yaml.safe_load(text)}", "a number without leading zeros", remedy
    if kind in ("int", "float") and ":" in text:
        value = yaml.safe_load(text)
        remedy = f'write it in quotes if it is text, "{text}", or else {value}'
        return f"{text}, which YAML reads as {value} (base 60)", "a number or text", remedy
    return None


def _where(source: str, node: yaml.Node | yaml.Event) -> str:
    return f"{source}, line {_line(node)}"


def _line(node: yaml.Node | yaml.Event) -> int:
    return 1 if node.start_mark is None else node.start_mark.line + 1


def _syntax_problem(error: Exception, source: str) -> Problem:
    """Convert an error of the parser."""
    mark = getattr(error, "problem_mark", None)
    where = source if mark is None else f"{source}, line {mark.line + 1}, column {mark.column + 1}"
    found = getattr(error, "problem", None) or " ".join(str(error).split())
    remedy = 'correct the line; indent with spaces only; write text with one of {}[]:#&*!|>%@ in quotes, "like this"'
    if "another document" in found:
        remedy = "leave one document: remove `---` and what does not belong to it"
    return Problem(where, found, "YAML", remedy)
