"""Kinds of values that config.yaml is made of: numbers within limits, names, mappings that a bare word stands for."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
"""What data sets and experiments may be called: the names become paths, file names and rule names."""


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


class Strict(BaseModel):
    """A frozen mapping that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ByName:
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
