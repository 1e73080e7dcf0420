"""The choice of the view, one of which is Snakemake's own output."""

import sys
from logging import ERROR, LogRecord

from rich.console import Console
from snakemake_interface_logger_plugins.settings import OutputSettingsLoggerInterface

from .views import DryRun, Lines, Screen, View


class Snakemake:
    """The output of Snakemake without this plugin."""

    def __init__(self, settings: OutputSettingsLoggerInterface) -> None:
        from snakemake.logging import ColorizingTextHandler, DefaultFilter, DefaultFormatter

        words = (settings.quiet, settings.debug_dag, settings.verbose, settings.dryrun, settings.printshellcmds)
        self._errors_only = "ALL" in {item.name for item in settings.quiet or ()}  # in a dry run too
        self._handler = ColorizingTextHandler(
            nocolor=settings.nocolor,
            stream=sys.stdout if settings.stdout else sys.stderr,
            formatter=DefaultFormatter(settings.quiet, settings.show_failed_logs),
            filter=DefaultFilter(*words),
        )

    def emit(self, record: LogRecord) -> None:
        """Pass a record on."""
        if record.levelno >= ERROR or not self._errors_only:
            self._handler.handle(record)

    def close(self) -> None:
        """Pass on the end."""
        self._handler.close()


def choose_view(settings: OutputSettingsLoggerInterface, view: str) -> View | Snakemake:
    """Return the view for the options of Snakemake and for what it prints to."""
    quiet = {item.name for item in settings.quiet or ()} & {"ALL", "PROGRESS", "RULES"}
    if view == "snakemake" or settings.verbose or settings.debug_dag or quiet:
        return Snakemake(settings)
    console = Console(
        stderr=not settings.stdout, no_color=True if settings.nocolor else None, highlight=False, log_path=False
    )
    kind: type[View] = Lines
    if settings.dryrun:
        kind = DryRun
    elif view == "auto" and console.is_terminal and not console.is_dumb_terminal:
        kind = Screen
    return kind(console, settings.printshellcmds)
