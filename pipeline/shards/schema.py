"""The version of the layout of a shard; a reader refuses others."""

SCHEMA_VERSION = 2
