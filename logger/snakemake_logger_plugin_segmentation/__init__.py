"""What the segmentation pipeline shows on the terminal while Snakemake runs it: ``snakemake --logger segmentation``."""

from dataclasses import dataclass, field
from logging import LogRecord
from typing import Optional

from snakemake_interface_logger_plugins.base import LogHandlerBase
from snakemake_interface_logger_plugins.settings import LogHandlerSettingsBase

VIEWS = ("auto", "plain", "snakemake")


@dataclass
class LogHandlerSettings(LogHandlerSettingsBase):
    """Options ``--logger-segmentation-...`` of Snakemake."""

    view: Optional[str] = field(  # noqa: UP045 - Snakemake understands no other form
        default=None,
        metadata={
            "help": "auto: a screen on a terminal, and lines otherwise; plain: lines; snakemake: the output of "
            "Snakemake without this plugin",
            "choices": list(VIEWS),
            "required": False,
        },
    )


class LogHandler(LogHandlerBase):
    """Passes records to the view that fits the output."""

    def __post_init__(self) -> None:
        """Choose the view; its modules are imported only where the plugin is used, not wherever it is installed."""
        from .handler import choose_view

        view = getattr(self.settings, "view", None) or "auto"
        self._view = choose_view(self.common_settings, view)
        self._closed = False

    def emit(self, record: LogRecord) -> None:
        """Show a record; a fault of the plugin never stops the workflow."""
        try:
            self._view.emit(record)
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Show the end of the run, once: Snakemake closes its handlers, and Python closes all of them at exit."""
        if not self._closed:
            self._closed = True
            self._view.close()
        super().close()

    @property
    def writes_to_stream(self) -> bool:
        """Whether it replaces the output of Snakemake."""
        return True

    @property
    def writes_to_file(self) -> bool:
        """Whether it writes a log file: Snakemake itself does, in .snakemake/log."""
        return False

    @property
    def has_filter(self) -> bool:
        """Whether it chooses records itself."""
        return True

    @property
    def has_formatter(self) -> bool:
        """Whether it formats records itself."""
        return True

    @property
    def needs_rulegraph(self) -> bool:
        """Whether it needs the graph of rules."""
        return False
