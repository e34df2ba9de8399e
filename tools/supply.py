"""What the environments are made of, and what is known against it.

    python -m tools.supply sbom     a CycloneDX list of each environment's packages: build/sbom-main.json, -keras.json
    python -m tools.supply audit    ask the package index for known vulnerabilities of these packages

Both tools, cyclonedx-bom and pip-audit, run in environments of their own that uv makes; nothing of theirs is installed
into the course's.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENVIRONMENTS = {"main": ROOT / ".venv", "keras": ROOT / ".venv-keras"}
FOUND, NOTHING_KNOWN = 1, 2  # exit statuses; 0 is an audit that could ask and found nothing


def run_tool(package: str, *words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of the package index in an environment of its own."""
    command = [sys.executable, "-m", "uv", "tool", "run", "--quiet", "--from", package, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def present() -> dict[str, Path]:
    """The environments that were set up, by name, with their Python."""
    pythons = {name: folder / "bin" / "python" for name, folder in ENVIRONMENTS.items()}
    return {name: python for name, python in pythons.items() if python.exists()}


def write_sboms(folder: Path) -> list[Path]:
    """Write the list of each environment's packages, in CycloneDX's JSON.

    Raises:
        RuntimeError: If the tool fails, with what it said.
    """
    folder.mkdir(exist_ok=True)
    written = []
    for name, python in present().items():
        path = folder / f"sbom-{name}.json"
        ended = run_tool("cyclonedx-bom", "cyclonedx-py", "environment", python, "--of", "JSON", "-o", path)
        if ended.returncode:
            raise RuntimeError(f"cyclonedx-bom failed on the environment {name}: {ended.stderr.strip()}")
        written.append(path)
    return written


def audit(python: Path) -> dict[str, Any]:
    """What pip-audit reports of an environment.

    Raises:
        RuntimeError: If it gives no report, as without a network.
    """
    site_packages = next((python.parents[1] / "lib").glob("python3*/site-packages"))
    ended = run_tool("pip-audit", "pip-audit", "--path", site_packages, "--format", "json", "--progress-spinner", "off")
    try:
        report: dict[str, Any] = json.loads(ended.stdout)
    except json.JSONDecodeError as error:
        said = (ended.stderr.strip().splitlines() or ["nothing"])[-1]
        raise RuntimeError(f"pip-audit gave no report; it said: {said}") from error
    return report


def describe_audit(name: str, report: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[list[str], int]:
    """The lines that a reader needs of a report, and the exit status.

    Args:
        name: The environment's.
        report: As pip-audit writes it: ``dependencies``, each with ``name`` and either ``version`` and ``vulns``, or
            the ``skip_reason`` why nothing is known of it.
    """
    packages = report["dependencies"]
    asked = [package for package in packages if "skip_reason" not in package]
    if not asked:
        return [f"{name}: the index has no vulnerability data for any of the {len(packages)} packages"], NOTHING_KNOWN
    lines = [
        f"{name}: {package['name']} {package['version']}: {known['id']}, mended in "
        f"{', '.join(known['fix_versions']) or 'no version yet'}"
        for package in asked
        for known in package["vulns"]
    ]
    silent = f"; nothing is known of {len(packages) - len(asked)} more" if len(asked) < len(packages) else ""
    summary = f"{name}: {len(lines)} known vulnerabilities in {len(asked)} packages{silent}"
    return [*lines, summary], FOUND if lines else 0


def main(job: str) -> int:
    """Do one of the two jobs; the exit status."""
    if job == "sbom":
        for path in write_sboms(ROOT / "build"):
            packages = len(json.loads(path.read_text(encoding="utf-8"))["components"])
            print(f"{path.relative_to(ROOT)}: {packages} packages")
        return 0
    statuses = []
    for name, python in present().items():
        lines, status = describe_audit(name, audit(python))
        print("\n".join(lines))
        statuses.append(status)
    return max(statuses, key=lambda status: (status == FOUND, status))


if __name__ == "__main__":
    if sys.argv[1:] not in (["sbom"], ["audit"]):
        sys.exit("python -m tools.supply sbom|audit")
    try:
        sys.exit(main(sys.argv[1]))
    except RuntimeError as error:
        sys.exit(str(error))
