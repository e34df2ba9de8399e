"""The command line: ``python -m clmkit`` and ``doctor``, ``train``, ``evaluate`` or ``generate``."""

import argparse
import io
import os
import sys

# These read their words themselves, as they have some 150 options.
TRAINING = {
    "train": "fine-tune a model, on one process or many; --help lists the options",
    "evaluate": "measure the model that a training left",
    "generate": "continue a prompt with it",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The words after ``python -m clmkit``; ``None`` takes them from the command line.

    Returns:
        The exit status: 0 if all went well.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a console that has no sign for a letter shows a question mark
    try:
        os.getcwd()
    except FileNotFoundError:
        print("the working folder was removed: change to another one (cd)", file=sys.stderr)
        return 1
    parser = argparse.ArgumentParser(prog="python -m clmkit", description="Helpers of the causal LM course.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what on this machine would keep the course from working")
    for command, text in TRAINING.items():
        commands.add_parser(command, help=text, add_help=False)
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in TRAINING:
        from clmkit.scale.command import run_command

        return run_command(arguments[0], arguments[1:])
    parser.parse_args(arguments)
    from clmkit.doctor import run_doctor

    try:
        return run_doctor()
    except BrokenPipeError:  # of `| head`, which has what it wants; Python would say so once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except ValueError as error:  # of a variable of the environment, which it says
        print(f"doctor: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
