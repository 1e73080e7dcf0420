"""Building blocks of typed settings: a frozen base class, constrained numbers, names, tagged unions."""

import os
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self, TypeVar, Union

from pydantic import (
    AfterValidator,
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
"""Valid names of data sets and experiments, which are also used as names of files and rules."""

OMIT_DEFAULT = object()
"""Annotation of a field that plain data omit at its default: a field that is added later changes no fingerprint."""

_Kind = TypeVar("_Kind", bound="Options")


class Options(BaseModel):
    """Settings of a stage or a part of one: frozen; unknown keys are errors.

    Plain data omit None where it is the default, and fields annotated with `OMIT_DEFAULT` at their defaults.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)  # builds what is used

    @model_serializer(mode="wrap")
    def _without_defaults(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        omitted = {
            key
            for key, field in type(self).model_fields.items()
            if getattr(self, key) == field.default and (field.default is None or OMIT_DEFAULT in field.metadata)
        }
        return {key: value for key, value in dump(self).items() if key not in omitted}

    def plain(self) -> dict[str, Any]:
        """Return the settings as plain data that can be stored as JSON and validated again."""
        return self.model_dump(mode="json")

    def changed(self, **values: Any) -> Self:  # noqa: ANN401 - values of the fields
        """Return a copy with changed values."""
        return self.model_copy(update=values)

    def to(self, kind: type[_Kind], /, **more: Any) -> _Kind:  # noqa: ANN401 - values of the fields
        """Return options of another class with the shared fields and `more`; fields that are not set remain not set."""
        shared = {
            name: getattr(self, name)
            for name, field in kind.model_fields.items()
            if name in type(self).model_fields
            and (name in self.model_fields_set or field.default != getattr(self, name))
        }
        return kind(**{**shared, **more})

    def resolutions(self) -> tuple["Options", ...]:
        """Return what these settings can become on the hardware that runs the stage: usually only themselves."""
        return (self,)

    def fingerprint_settings(self) -> "Options":
        """Return the settings that belong into a fingerprint; subclasses leave out settings of single samples."""
        return self

    def modules(self) -> set[str]:
        """Return the modules that these settings select, such as that of a network: their code affects results."""
        parts = (getattr(self, name) for name in type(self).model_fields)
        return {module for part in parts if isinstance(part, Options) for module in part.modules()}


def _no_bool(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    if isinstance(value, bool):
        raise ValueError("expected a number, not yes/no")
    return value


NUMBER = BeforeValidator(_no_bool)  # must be the last annotation: limits after it would be missing in the schema


def _require_usable(value: float) -> float:
    """Refuse numbers near the limits of the types in which PyTorch computes."""
    if abs(value) >= (2**31 if isinstance(value, int) else 1e30):
        raise ValueError("a number below 2**31" if isinstance(value, int) else "a number below 1e30")
    return value


_USABLE = AfterValidator(_require_usable)
Positive = Annotated[int, Field(ge=1), _USABLE, NUMBER]
Seed = Annotated[int, Field(ge=0, lt=2**32), NUMBER]
Real = Annotated[float, Field(allow_inf_nan=False), _USABLE, NUMBER]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False), _USABLE, NUMBER]
Rate = Annotated[float, Field(gt=0, allow_inf_nan=False), _USABLE, NUMBER]
Fraction = Annotated[float, Field(gt=0, lt=1), NUMBER]
FractionOrZero = Annotated[float, Field(ge=0, lt=1), NUMBER]
Side = Annotated[int, Field(ge=32, le=16384), NUMBER]


def _require_two_sides(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
    if not isinstance(value, list | tuple) or len(value) != 2:
        example = [value, value] if isinstance(value, int) and not isinstance(value, bool) else [256, 256]
        raise ValueError("[height, width] in pixels", f"write both, such as {example}")
    return value


HeightWidth = Annotated[tuple[Side, Side], BeforeValidator(_require_two_sides)]


def expand_path(text: str) -> str:
    """Replace ``~`` and environment variables such as ``$HOME`` in a path; unknown ones stay."""
    return os.path.expanduser(os.path.expandvars(text))  # noqa: PTH111 - Path would change the text of other paths


PathText = Annotated[str, Field(min_length=1), AfterValidator(expand_path)]


class Shorthand:
    """Accept a string as a shorthand for a mapping with one key, in the file and in its schema.

    Parameters
    ----------
    key : str
        The key of the mapping.
    *values : str
        Its valid values.
    default : str, optional
        Its value in mappings without the key.
    """

    def __init__(self, key: str, *values: str, default: str | None = None) -> None:
        self.key, self.values, self.default = key, values, default

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Convert a string into a mapping before validation."""

        def wrap(value: Any) -> Any:  # noqa: ANN401 - runs before the type is known
            if isinstance(value, str):
                return {self.key: value}
            if self.default is not None and isinstance(value, Mapping) and self.key not in value:
                return {self.key: self.default, **value}
            return value

        return core_schema.no_info_before_validator_function(wrap, handler(source))

    def __get_pydantic_json_schema__(self, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Allow the values as well as the mapping."""
        return {"anyOf": [{"type": "string", "enum": list(self.values)}, handler(core)]}


class Choice:
    """Restrict a string to the names in a table."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:  # noqa: ANN401
        """Use the names as the valid values, in messages and in the schema."""
        return core_schema.literal_schema(self.names)


def tag_values(kinds: Iterable[type[Options]], key: str) -> list[str]:
    """Return the tag of each class of options: the literal value of its field `key`."""
    return [str(kind.model_fields[key].annotation.__args__[0]) for kind in kinds]  # type: ignore[union-attr]


def tagged_union(kinds: Iterable[type[Options]], key: str, **shorthand: str) -> Any:  # noqa: ANN401 - a type
    """Return the union of classes of options, discriminated by field `key`; a tag alone is a shorthand for a class."""
    kinds = tuple(kinds)
    return Annotated[
        Annotated[Union[kinds], Field(discriminator=key)],  # noqa: UP007 - the classes are known only at run time
        Shorthand(key, *tag_values(kinds, key), **shorthand),
    ]
