"""The help of the commands, errors of the parser, and the completion of shells."""

import argparse
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.cli import main as cli
from pipeline.cli.commands import COMMANDS, INPUTS
from pipeline.cli.parser import EXAMPLES, SECTIONS, parse

BY_NAME = {command.name: command for command in COMMANDS}


@pytest.fixture(autouse=True)
def terminal(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")


def help_of(capsys, *words):
    with pytest.raises(SystemExit, match=r"^0$"):
        cli.main([*words, "--help"])
    return capsys.readouterr().out


def error_of(capsys, line):
    with pytest.raises(SystemExit, match=r"^2$"):
        cli.main(shlex.split(line))
    return capsys.readouterr().err


def test_every_command_is_in_one_section():
    assert sorted(name for names in SECTIONS.values() for name in names) == sorted(BY_NAME)


def test_main_help_lists_commands_in_order_uncut(capsys):
    text = help_of(capsys)
    assert max(map(len, text.splitlines())) <= 80
    lines = [f"  {name:<15}{BY_NAME[name].summary}" for names in SECTIONS.values() for name in names]
    positions = [text.splitlines().index(line) for line in lines]
    assert positions == sorted(positions)
    assert "docs/commands.md" in text
    assert all(example in text for example in EXAMPLES)


@pytest.mark.parametrize("name", BY_NAME)
def test_help_of_a_command_has_summary_and_examples(name, capsys):
    text, command = help_of(capsys, name), BY_NAME[name]
    assert max(map(len, text.splitlines())) <= 80
    assert f"\n{command.summary}.\n" in text
    assert all(option.flag in text for option in command.options if option.flag.startswith("--"))
    examples = text.partition("\nexamples:\n")[2].replace("\\\n", "")
    lines = [line.removeprefix("  python -m pipeline ") for line in examples.splitlines()]
    assert [" ".join(line.split()) for line in lines] == [*command.examples]
    for line in lines:
        assert parse(shlex.split(line)).run is command.run


def test_options_without_a_default_are_few():
    without = {
        option.flag
        for command in COMMANDS
        for option in command.options
        if option.flag.startswith("--") and option.values and option.group is not INPUTS
        if not option.default and not option.required
    }
    of_predict = {"--input", "--bundle", "--experiment", "--split"}
    assert without == {"--plan", "--print-reports", *of_predict}
    assert all(option.text for command in COMMANDS for option in command.options)


@pytest.mark.parametrize(
    ("line", "usage", "message"),
    [
        (
            "shard --splti test",
            "python -m pipeline shard --dataset NAME",
            "unknown option --splti; did you mean --split?",
        ),
        (
            "shard --splti=test",
            "python -m pipeline shard --dataset NAME",
            "unknown option --splti; did you mean --split?",
        ),
        ("train --experiment e --xyz", "python -m pipeline train --experiment NAME", "unknown option --xyz\n"),
        ("check extra", "python -m pipeline check [options]", "unexpected arguments: extra"),
        ("shard --dataset d --number 0 --split tset", "python -m pipeline shard", "choose from 'train', 'validation'"),
        ("folds --dataset d --folds 1", "python -m pipeline folds", "a whole number from 2 to 1000, not '1'"),
        ("predcit --input x", "python -m pipeline COMMAND [options]", "unknown command predcit; did you mean predict?"),
        (
            "explain --config c.yaml results/x",
            "python -m pipeline explain PATH",
            "name PATH before --config, or after `--`",
        ),
        ("", "python -m pipeline COMMAND [options]", "required: COMMAND"),
    ],
)
def test_errors_name_the_usage_and_the_nearest_option(line, usage, message, capsys):
    text = error_of(capsys, line)
    assert text.startswith(f"usage: {usage}")
    assert message in text


def test_the_beginning_of_an_option_is_accepted():
    assert parse(["splits", "--data", "d"]).dataset == "d"


def test_a_percent_sign_in_help_is_printed(capsys):
    parser = argparse.ArgumentParser()
    option = BY_NAME["models"]._replace(options=(BY_NAME["clean"].options[1]._replace(text="100 % of it"),))
    option.add_to(parser.add_subparsers())
    with pytest.raises(SystemExit):
        parser.parse_args(["models", "--help"])
    assert "100 % of it" in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "tcsh"])
def test_completion_prints_a_script(shell, capsys):
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert "verify-run" in script
    assert "checkpoint" in script


def test_bash_completes_commands_options_and_values(tmp_path):
    script = tmp_path / "completion"
    command = [sys.executable, "-m", "pipeline", "completion", "bash"]
    script.write_bytes(subprocess.run(command, capture_output=True, check=True).stdout)
    subprocess.run(["bash", "-n", script], check=True)
    (tmp_path / "best.pt").touch()

    def complete(*words):
        code = f'source {script}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _shtab_pipeline; echo "${{COMPREPLY[*]}}"'
        line = ["bash", "-c", code, "bash", "pipeline", *words]
        return subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=True).stdout.split()

    assert complete("sh") == ["shard"]
    assert complete("shard", "--spl") == ["--split"]
    assert complete("shard", "--split", "t") == ["train", "test"]
    assert complete("predict", "--checkpoint", "be") == ["best.pt"]


def test_home_folder_in_path_options_is_replaced(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    arguments = parse(["predict", "--output=~/out", "--input", "$HOME/images", "--checkpoint=~/best.pt"])
    assert arguments.output == Path("/home/somebody/out")
    assert arguments.input == Path("/home/somebody/images")
    assert arguments.checkpoint == [Path("/home/somebody/best.pt")]


def test_threshold_that_is_no_number_and_no_file_is_a_usage_error(capsys):
    with pytest.raises(SystemExit):
        parse(["predict", "--threshold", "abc"])
    assert "expected a number in [0, 1), or an existing file with one, not 'abc'" in capsys.readouterr().err
