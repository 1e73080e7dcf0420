"""What typed settings are made of: a frozen base class, numbers within limits, names, choices by name."""

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self, TypeVar, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    model_serializer,
)
from pydantic_core import CoreSchema, core_schema

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What data sets and experiments may be called: the names become paths, file names and rule names."""

_Kind = TypeVar("_Kind", bound="Options")


class Options(BaseModel):
    """Settings of a stage, or of a part of one: frozen, unknown keys refused.

    In their plain form None is left out where it is the default.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_serializer(mode="wrap")
    def _without_none(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields = type(self).model_fields
        return {key: value for key, value in dump(self).items() if value is not None or fields[key].default is not None}

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain data: what JSON can hold, and what they can be read from again."""
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> Self:  # noqa: ANN401 - values of the fields
        """Return a copy with other values."""
        return self.model_copy(update=values)

    def to(self, kind: type[_Kind], /, **more: Any) -> _Kind:  # noqa: ANN401 - values of the fields
        """Return options of another kind: the fields that both have, and `more`; what was not said stays so."""
        shared = {
            name: getattr(self, name)
            for name, field in kind.model_fields.items()
            if name in type(self).model_fields
            and (name in self.model_fields_set or field.default != getattr(self, name))
        }
        return kind(**{**shared, **more})

    def deciding(self) -> "Options":
        """Return what decides a result for good: the same, less what concerns single samples."""
        return self

    def modules(self) -> set[str]:
        """Name the modules that these settings choose, such as that of a network: their code decides results too."""
        parts = (getattr(self, name) for name in type(self).model_fields)
        return {module for part in parts if isinstance(part, Options) for module in part.modules()}


def _no_bool(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    if isinstance(value, bool):
        raise ValueError("a number is expected, not yes/no")
    return value


NUMBER = BeforeValidator(_no_bool)  # stands last: limits that come after it would not reach the schema

Positive = Annotated[int, Field(ge=1), NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
Real = Annotated[float, Field(allow_inf_nan=False), NUMBER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), NUMBER]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), NUMBER]
Fraction = Annotated[float, Field(gt=0, lt=1), NUMBER]
Share = Annotated[float, Field(ge=0, lt=1), NUMBER]
Side = Annotated[int, Field(ge=32, le=16384), NUMBER]


class Shorthand:
    """Let a bare word stand for a mapping that says nothing but that word, in the file and in its schema.

    A mapping that leaves the word out has the word `default`, where there is one.
    """

    def __init__(self, key: str, *words: str, default: str | None = None) -> None:
        self.key, self.words, self.default = key, words, default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Wrap a bare word before the mapping is looked at."""

        def wrap(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
            if isinstance(value, str):
                return {self.key: value}
            if self.default is not None and isinstance(value, Mapping) and self.key not in value:
                return {self.key: self.default, **value}
            return value

        return core_schema.no_info_before_validator_function(wrap, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Offer the words beside the mapping."""
        return {"anyOf": [{"type": "string", "enum": list(self.words)}, handler(core)]}


class Choice:
    """Let a text be one of some names that a table holds."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Take the names as the allowed values, in messages and in the schema."""
        return core_schema.literal_schema(self.names)


def tag_values(kinds: Iterable[type[Options]], key: str) -> list[str]:
    """Return the word that tells each kind of options from the others, its literal value of `key`."""
    return [str(kind.model_fields[key].annotation.__args__[0]) for kind in kinds]  # type: ignore[union-attr]


def tagged_union(kinds: Iterable[type[Options]], key: str, **by_name: str) -> Any:  # noqa: ANN401 - a type
    """Return the type of options of one of several kinds, told by `key`; a bare word stands for a kind by itself."""
    kinds = tuple(kinds)
    return Annotated[
        Annotated[Union[kinds], Field(discriminator=key)],  # noqa: UP007 - known when it runs
        Shorthand(key, *tag_values(kinds, key), **by_name),
    ]
