"""Version of the layout of shards; readers refuse other versions."""

SCHEMA_VERSION = 3
