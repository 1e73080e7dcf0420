"""The command line: the same verbs that the rules call.

Every verb takes ``--config FILE`` (one or several, later ones over earlier ones) and names, and finds its files where
the workflow keeps them; or ``--settings JSON`` (the slice of the configuration that the stage uses, as the rules pass
it) and the files. Both end in the same call. Rooms are imported by the verb that needs them, so that only training
and prediction load torch.
"""

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.cli.arguments import Arguments, configuration
from pipeline.cli.parser import OUT, Verbs
from pipeline.cli.verbs_make import add_making_verbs
from pipeline.cli.verbs_score import add_scoring_verbs
from pipeline.core.errors import ConfigError, InterruptionError, PipelineError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; return the exit status.

    0: done. 1: something a person can mend, said on standard error. 2: a mistake in the command or configuration.
    128 and more: a signal.
    """
    words = sys.argv[1:] if argv is None else argv
    arguments = _parser().parse_args(words)
    arguments.command = ["python", "-m", "pipeline", *words]
    try:
        return int(arguments.run(arguments) or 0)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 2
    except InterruptionError as error:
        print(error, file=sys.stderr)
        return error.status
    except PipelineError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:  # `... | head`: whoever read has gone, and the interpreter must not try to say more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was left under a final name", file=sys.stderr)
        return 130


def _clean(arguments: Arguments) -> None:
    from pipeline.cli.upkeep import clean

    clean(configuration(arguments), yes=arguments.yes)


def _explain(arguments: Arguments) -> None:
    from pipeline.graph.explain import explain

    explain(configuration(arguments), arguments.path)


def _verify_run(arguments: Arguments) -> int:
    from pipeline.tools.verify import as_text, compare_runs

    result = compare_runs(arguments.first, arguments.second)
    print(as_text(result, arguments.first, arguments.second), flush=True)
    return int(bool(result.differences))


def _models(arguments: Arguments) -> None:
    from pipeline.models.published import print_models

    print_models()


def _schema(arguments: Arguments) -> None:
    from pipeline.config.config import schema
    from pipeline.core.files import write_json

    write_json(arguments.output, schema())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m pipeline", description=__doc__)
    verbs = Verbs(parser)
    add_making_verbs(verbs)
    add_scoring_verbs(verbs)
    _add_telling_verbs(verbs)
    return parser


def _add_telling_verbs(verbs: Verbs) -> None:
    verb = verbs.add(
        "clean",
        _clean,
        "List what under results/ no configured data set or experiment needs, with its size, and remove it.\n\n"
        "Old experiments, data sets that are gone, shards that no sample stands in, remains of killed jobs. On a\n"
        "terminal it asks first; elsewhere it removes nothing without --yes. Links are never followed. Name with\n"
        "--config every file whose results are to stay.",
        configured=False,
    )
    verb.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
    )
    verb.add_argument("--yes", action="store_true", help="remove without asking")

    verb = verbs.add(
        "explain",
        _explain,
        "Tell where a result comes from, and whether it is what today's configuration and code would make.\n\n"
        "Shards, networks, predictions and single pictures of them, thresholds, scores, the leaderboard: what it is,\n"
        "which stage made it by which settings, code and libraries, from what, and what differs by now.\n\n"
        "  python -m pipeline explain results/predictions/drive-unet/test/mask/01.png",
        configured=False,
    )
    verb.add_argument("path", type=Path, metavar="PATH", help="file or folder under results/")
    verb.add_argument(
        "--config", type=Path, nargs="+", metavar="FILE", help="configuration, later files over earlier ones"
    )

    verb = verbs.add(
        "verify-run",
        _verify_run,
        "Compare the results of two runs byte for byte: shards, checkpoints, predictions, scores.\n\n"
        "Says what was left out (times, logs, the report), the first difference and how many files differ. The exit\n"
        "status is 0 where nothing differs.\n\n"
        "  python -m pipeline verify-run results ../other-clone/results",
        configured=False,
    )
    verb.add_argument("first", type=Path, metavar="A", help="folder of results")
    verb.add_argument("second", type=Path, metavar="B", help="another one")

    verbs.add(
        "models",
        _models,
        "Print the published networks: parameters, size, operations for one picture, shapes.",
        configured=False,
    )

    verb = verbs.add("schema", _schema, "Write the JSON schema of config.yaml.", configured=False)
    default = Path("workflow/schemas/config.schema.json")
    verb.add_argument("--output", **OUT, default=default, help=f"JSON file ({default})")
