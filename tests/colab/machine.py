"""A machine like Colab's: what Google has installed there, ``google.colab`` with a secret, no clmkit, no repository.

Only torch is not Google's: the list's is a CUDA build.
"""

import json
import os
import zipfile
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from jupyter_client import AsyncKernelManager
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient

from tests.kernels import ROOT, kept_environment, run, without_mirror
from tests.notebooks.addresses import INSTALL_FROM

STUB = Path(__file__).parent / "stub"
LAUNCH = [
    "-m",
    "ipykernel_launcher",
    "--IPKernelApp.kernel_class=google.colab._kernel.Kernel",
    "-f",
    "{connection_file}",
]
# What breaks binaries or Colab's page when it is exchanged.
KEPT = ("torch", "tensorflow", "numpy", "pyarrow", "ipywidgets", "datasets", "keras", "keras-hub", "matplotlib")


def colab_folder() -> Path:
    """The environment from Google's list; the test is skipped where it is left out, and fails where it is missing."""
    name = os.environ.get("CLMKIT_COLAB")
    if name == "0":
        pytest.skip("left out by CLMKIT_COLAB=0 (make test COLAB=0)")
    folder = ROOT / (name or ".venv-colab-python3")
    if not folder.is_dir():
        (pytest.fail if name else pytest.skip)(f"there is no {folder.name}: make test and make colab set it up")
    return folder


class Machine(NamedTuple):
    """One machine.

    Attributes:
        python: Its interpreter.
        own: Where pip installs to; empty at first.
        given: The packages that it came with, which pip can't touch.
        wheels: Where pip looks: what the install lines add, and a later version of each of ``KEPT``, for pip to take
            if an install line lets it.
    """

    python: str
    own: Path
    given: Path
    wheels: tuple[Path, Path]

    @property
    def environment(self) -> dict[str, str]:
        """What keeps pip off the network."""
        places = " ".join(map(str, self.wheels))
        return {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": places, "PIP_DISABLE_PIP_VERSION_CHECK": "1"}

    def versions(self) -> dict[str, str]:
        """The version of every package that an import finds."""
        found = reversed(list(distributions(path=[str(self.own), str(self.given)])))
        return {package.name.replace("_", "-"): package.version for package in found}


def make_machine(folder: Path) -> Machine:
    """A new one in an empty folder."""
    colab = colab_folder()
    given = _folder_of_packages(str(colab / "bin" / "python"))
    run(str(colab / "bin" / "python"), "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    own = _folder_of_packages(python)
    # Python reads no .pth files in a folder that a .pth file names.
    (own / "given.pth").write_text(f"{given}\n{STUB}\n")
    machine = Machine(python, own, given, (colab / "wheels", folder / "newer"))
    (folder / "newer").mkdir()
    for package, version in machine.versions().items():
        if package in KEPT:
            _write_wheel(folder / "newer", package.replace("-", "_"), version.split("+")[0] + ".1")
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
    name: str, folder: Path, machine: Machine, wheel: Path, rows: int | None = None, **environment: str
) -> nbformat.NotebookNode:
    """Run a committed notebook on such a machine, and give it back as executed.

    Its install line really runs; in it a wheel stands for the repository's address. All else is as it was committed,
    but for ``rows``.

    Args:
        name: Which, without ``.ipynb``.
        folder: The notebook works in ``work``, an empty folder in this one.
        machine: Where it runs.
        wheel: What takes the place of the repository.
        rows: How many the notebook is to load, as its cell then asks ``choose_track``; without it, all.
        environment: More of the environment: ``HF_ENDPOINT=...``, ``COLAB_SECRET_HF_TOKEN=...``.

    Raises:
        nbclient.exceptions.CellExecutionError: If a cell fails.
    """
    notebook = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    setup = next(cell for cell in notebook.cells if cell.cell_type == "code")
    assert INSTALL_FROM in setup.source
    setup.source = setup.source.replace(INSTALL_FROM, wheel.as_uri())
    if rows:
        (choice,) = [cell for cell in notebook.cells if cell.cell_type == "code" and "= choose_track(" in cell.source]
        choice.source = choice.source.replace("= choose_track(", f"= choose_track(rows={rows}, ")
    kernel = notebook.metadata.kernelspec.name
    spec = folder / "kernels" / kernel / "kernel.json"
    spec.parent.mkdir(parents=True)
    spec.write_text(json.dumps({"argv": [machine.python, *LAUNCH], "display_name": kernel, "language": "python"}))
    specs = KernelSpecManager(kernel_dirs=[str(folder / "kernels")])
    manager = AsyncKernelManager(kernel_name=kernel, kernel_spec_manager=specs)
    (folder / "work").mkdir()
    client = NotebookClient(notebook, km=manager, timeout=600, resources={"metadata": {"path": folder / "work"}})
    own = {"PYTHONPATH": "", "HF_HOME": str(folder / "hf_home")}
    without_mirror(client).execute(env=kept_environment() | machine.environment | environment | own, cleanup_kc=True)
    return notebook
