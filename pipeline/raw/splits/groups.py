"""Find groups of samples, such as tiles of one section, from a table or from identifiers."""

import re
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from pipeline.core.errors import Problem, RawDataError, join_first, plural
from pipeline.raw.samples import Sample, as_identifier
from pipeline.raw.splits.rules import Group
from pipeline.raw.tables import RESPELLED_REMEDY, describe_respelled, name_forms, read_columns, respelled

_MAX_EXAMPLES = 3  # identifiers of the table that a message shows
_MISSING = {
    "",
    "na",
    "n/a",
    "#n/a",
    "<na>",
    "nan",
    "null",
    "none",
}  # as spreadsheets, pandas and R write a missing value


def find_groups(samples: Iterable[Sample], group: Group, root: Path) -> dict[str, str]:
    """Find the group of each sample.

    Parameters
    ----------
    group : Group
        With `file`: the value in `column` of the table row whose `id` is the identifier of the sample or, for a page of
        a stack, of the stack; other rows are ignored. With `pattern`: the text of its only group, in its first match in
        the identifier. Runs of spaces count as one space, and texts are compared in Unicode NFC.
    root : Path
        The raw folder.

    Returns
    -------
    dict of str to str
        Identifier to group.

    Raises
    ------
    RawDataError
        If the table cannot be used, or listing all identifiers without a row, a value (``NA`` and the like are none) or
        a match, or the groups that differ only by upper and lower case or number format.
    """
    if group.pattern is not None:
        where = f"the pattern {group.pattern!r} of `group`"
        groups = _groups_by_pattern([sample.id for sample in samples], group.pattern, where)
    else:
        assert group.file is not None
        assert group.column is not None
        where = str(root / group.file)
        groups = _groups_by_column(
            {sample.id: sample.stack_id for sample in samples}, root / group.file, group.id, group.column
        )
    _require_distinct(groups, where)
    return groups


def _require_distinct(groups: Mapping[str, str], where: str) -> None:
    """Refuse groups that are probably the same, such as ``P1`` and ``p1``: they would end up in different splits."""
    spellings: dict[object, set[str]] = {}
    for name in set(groups.values()):
        spellings.setdefault(name_forms(name)[0], set()).add(name)
    if ambiguous := sorted(" and ".join(map(repr, sorted(names))) for names in spellings.values() if len(names) > 1):
        raise RawDataError(
            where,
            f"groups that differ only by upper and lower case or number format: {join_first(ambiguous)}",
            "one spelling for each group, since the samples of different groups may be in different splits",
            "write each group in one way, in the table or in a new one (`file` and `column` of `group`)",
        )


def _groups_by_column(stacks: Mapping[str, str], table: Path, key: str, column: str) -> dict[str, str]:
    problems: list[Problem] = []
    rows = read_columns(table, key, column, problems, "correct `file`, `id` or `column` of `group`, or the table")
    if problems:
        raise RawDataError(problems)
    groups = {name: _as_group(rows.get(name, rows.get(stack, ""))) for name, stack in stacks.items()}
    if missing := sorted(name for name, group in groups.items() if group.casefold() in _MISSING):
        examples = ", ".join(map(repr, list(rows)[:_MAX_EXAMPLES])) or "no row"
        found = f"no {column!r} for {len(missing)} of {plural(len(groups), 'sample')}: {join_first(missing)}"
        remedy = (
            f"write these identifiers into {key!r} (the table begins with {examples}), add the rows, or "
            "leave the samples out (`exclude`)"
        )
        known_ids = {*stacks, *stacks.values()}
        if similar := respelled(rows.keys() - known_ids, known_ids - rows.keys()):
            pairs = describe_respelled(dict(sorted(similar.items())))
            found, remedy = f"{found}; but the table has {pairs}", RESPELLED_REMEDY
        raise RawDataError(str(table), found, f"a row with {key!r} and {column!r} for every labelled sample", remedy)
    return groups


def _as_group(text: str) -> str:
    return as_identifier(" ".join(text.split()))


def _groups_by_pattern(ids: Collection[str], pattern: str, where: str) -> dict[str, str]:
    compiled = re.compile(as_identifier(pattern))
    matches = {name: compiled.search(name) for name in ids}
    groups = {name: group for name, match in matches.items() if match and (group := _as_group(match.group(1) or ""))}
    if missing := sorted(set(ids) - groups.keys()):
        raise RawDataError(
            where,
            f"{len(missing)} of {plural(len(ids), 'sample')} that it does not match: {join_first(missing)}",
            "a pattern whose group matches at least one character of every identifier",
            "correct it (`python -m pipeline splits` lists the identifiers of a data set without `group`)",
        )
    return groups
