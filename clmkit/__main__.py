"""The command line: ``python -m clmkit`` and ``doctor``, ``course``, ``train``, ``evaluate`` or ``generate``."""

import argparse
import sys
from pathlib import Path

from clmkit.messages import translate

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
    parser = argparse.ArgumentParser(prog="python -m clmkit", description="Helpers of the causal LM course.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="say what on this machine would keep the course from working")
    course = commands.add_parser("course", help="run every notebook in order and show what each one found")
    course.add_argument("--notebooks", type=Path, help="the folder to read them from; by default notebooks")
    course.add_argument("--output", type=Path, default=Path("build/course"), help="the folder for executed copies")
    course.add_argument("--no-keras", action="store_true", help="leave out the notebooks of the Keras kernel")
    for command, text in TRAINING.items():
        commands.add_parser(command, help=text, add_help=False)
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] in TRAINING:
        from clmkit.training.command import run_command

        return run_command(arguments[0], arguments[1:])
    options = parser.parse_args(arguments)
    if options.command == "doctor":
        from clmkit.doctor import run_doctor

        return run_doctor()
    from clmkit.course import format_table, notebook_folder, run_course

    try:
        results = run_course(options.notebooks or notebook_folder(), options.output, keras=not options.no_keras)
    except (RuntimeError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 1
    print("\n" + format_table(results))
    print("\n" + translate("Open {page} to read the executed notebooks.", page=options.output / "index.html"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
