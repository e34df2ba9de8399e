"""A machine like Colab's: a kernel's packages without clmkit, ``google.colab`` with a secret, and no repository."""

import json
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import nbformat
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager

from tests.hub.notebooks import execute, read_notebook
from tests.hub.server import StandInHub
from tests.kernels import Kernel, kernel_python, run
from tests.notebooks.addresses import INSTALL_FROM
from tools.course import KERNEL

STUB = Path(__file__).parent / "colab_stub"
LAUNCH = [
    "-m",
    "ipykernel_launcher",
    "--IPKernelApp.kernel_class=google.colab._kernel.Kernel",
    "-f",
    "{connection_file}",
]
# What must stay as it is on a machine that came with it: to exchange it breaks binaries until a restart.
KEPT = ("torch", "tensorflow", "numpy", "transformers")


class Machine(NamedTuple):
    """One machine.

    Attributes:
        python: Its interpreter.
        own: Where pip installs to; empty at first.
        given: The packages that it came with, which pip can't touch: those of one of the course's kernels.
        newer: A later version of each of ``KEPT``, for pip to take if the install line lets it.
    """

    python: str
    own: Path
    given: Path
    newer: Path

    @property
    def environment(self) -> dict[str, str]:
        """What keeps pip off the network."""
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.newer), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def versions(self) -> dict[str, str]:
        """The version of every package that an import finds."""
        found = reversed(list(distributions(path=[str(self.own), str(self.given)])))
        return {package.name: package.version for package in found}

    def installed(self) -> set[str]:
        """What pip has installed."""
        return {package.name for package in distributions(path=[str(self.own)])}


def make_machine(folder: Path, kernel: Kernel) -> Machine:
    """A new one in an empty folder, with what is installed on one of the course's kernels but for clmkit."""
    given = _folder_of_packages(kernel_python(kernel))
    run(kernel_python(kernel), "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    own = _folder_of_packages(python)
    # Python reads no .pth files in a folder that a .pth file names, so the editable clmkit there is not found.
    (own / "given.pth").write_text(f"{given}\n{STUB}\n")
    machine = Machine(python, own, given, folder / "newer")
    machine.newer.mkdir()
    for package, version in machine.versions().items():
        if package in KEPT:
            _write_wheel(machine.newer, package, version.split("+")[0] + ".1")
    return machine


def _folder_of_packages(python: str) -> Path:
    return Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())


def _write_wheel(folder: Path, name: str, version: str) -> None:
    information = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{information}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{information}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{information}/RECORD", "")


def run_in_colab(
    name: str, hub: StandInHub, folder: Path, machine: Machine, wheel: Path, **environment: str
) -> nbformat.NotebookNode:
    """Run a committed notebook on such a machine, and give it back as executed.

    Its install line really runs; in it a wheel stands for the repository's address. All else is as it was committed.

    Args:
        name: Which, without ``.ipynb``.
        hub: The Hub that ``HF_ENDPOINT`` names.
        folder: The notebook works in ``work``, an empty folder in this one.
        machine: Where it runs.
        wheel: What takes the place of the repository.
        environment: More of the environment: ``COLAB_SECRET_HF_TOKEN=...``, ``CLMKIT_SHARE="1"``.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = read_notebook(name)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert INSTALL_FROM in setup.source
    setup.source = setup.source.replace(INSTALL_FROM, wheel.as_uri())
    kernel = notebook.metadata.kernelspec.name
    spec = folder / "kernels" / kernel / "kernel.json"
    spec.parent.mkdir(parents=True)
    start = {"argv": [machine.python, *LAUNCH], "display_name": kernel, "language": "python"}
    spec.write_text(json.dumps(start | {"metadata": {"supported_encryption": ["curve"]}}))
    specs = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    manager = AsyncKernelManager(kernel_name=kernel, config=KERNEL, kernel_spec_manager=specs)
    return execute(notebook, hub, folder, manager, PYTHONPATH="", **machine.environment, **environment)
