"""Take over what Google has installed in Colab: the versions of those packages that the course's locks name too.

    python -m tools.colab pip-freeze.gpu.txt 2026-08-19

Google publishes the list of its GPU runtime, as ``pip freeze`` gives it, at github.com/googlecolab/backend-info; the
date is the list's. The tests build an environment of these versions and run every notebook in it.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

REQUIREMENTS = Path(__file__).parents[1] / "requirements"
LOCKS = ("main.txt", "torch.txt", "keras.txt")
# torch has to be the course's, whose CPU build the tests' machines have; setuptools and wheel go with torch.
LEFT_OUT = ("setuptools", "wheel")
HEADER = """\
# What Colab's GPU runtime has of what the course's locks name: googlecolab/backend-info, pip-freeze.gpu.txt of {date}.
# But for torch, whose version is that of torch.txt. Written by: python -m tools.colab pip-freeze.gpu.txt {date}
"""


def pins(lines: Iterable[str]) -> dict[str, str]:
    """The exact versions in a list of requirements, by the packages' normalized names."""
    found = {}
    for line in lines:
        if pin := re.match(r"([\w.-]+)==([^\s;]+)", line):
            found[re.sub(r"[-_.]+", "-", pin[1]).lower()] = pin[2]
    return found


def colab_requirements(freeze: str, date: str) -> str:
    """The text of ``requirements/colab.txt``.

    Args:
        freeze: Google's list.
        date: The day of the list.

    Raises:
        ValueError: If the list holds none of the locks' packages.
    """
    main, torch, keras = (pins((REQUIREMENTS / lock).read_text(encoding="utf-8").splitlines()) for lock in LOCKS)
    locked = main | torch | keras
    shared = {name: version for name, version in pins(freeze.splitlines()).items() if name in locked}
    if "torch" in shared:
        shared |= torch
    kept = [f"{name}=={version}\n" for name, version in sorted(shared.items()) if name not in LEFT_OUT]
    if not kept:
        raise ValueError("the list names none of the packages in the course's locks: is it what pip freeze prints?")
    return HEADER.format(date=date) + "".join(kept)


if __name__ == "__main__":
    text = colab_requirements(Path(sys.argv[1]).read_text(encoding="utf-8"), sys.argv[2])
    (REQUIREMENTS / "colab.txt").write_text(text, encoding="utf-8")
    print(f"{len(text.splitlines()) - 2} packages in requirements/colab.txt")
