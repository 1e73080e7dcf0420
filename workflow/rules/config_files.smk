# Before Snakemake reads them: it keeps the last of two equal keys, and hangs on nested aliases.
import sys
from pathlib import Path

from snakemake.exceptions import WorkflowError

from pipeline.config.yaml_files import check_snakemake_files
from pipeline.core.errors import ConfigError

if workflow.is_main_process:
    try:
        check_snakemake_files(sys.argv[1:], [Path("config.yaml"), *map(Path, workflow.configfiles)])
    except ConfigError as error:
        raise WorkflowError(str(error)) from None
