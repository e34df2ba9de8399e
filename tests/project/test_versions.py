"""The ranges, the lock and environment.yml agree, and the lock installs on every machine the README names."""

import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

import clmkit

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCK = (ROOT / "requirements" / "main.txt").read_text(encoding="utf-8").splitlines()
LOCKED = [Requirement(line) for line in LOCK]
PYTHONS = ("3.11", "3.12", "3.13")


def locked_versions(python: str) -> dict[str, str]:
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    return {
        requirement.name.lower().replace("_", "-"): str(requirement.specifier).removeprefix("==")
        for requirement in LOCKED
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def test_every_locked_version_is_exact() -> None:
    assert all(re.fullmatch(r"==[^,*]+", str(requirement.specifier)) for requirement in LOCKED)


def test_every_range_admits_the_locked_version_on_every_python() -> None:
    extras = PROJECT["optional-dependencies"]
    wanted = [
        Requirement(line) for line in [*PROJECT["dependencies"], *(line for lines in extras.values() for line in lines)]
    ]
    for python in PYTHONS:
        versions = locked_versions(python)
        for requirement in wanted:
            version = versions[requirement.name.lower().replace("_", "-")]
            assert requirement.specifier.contains(version), f"{requirement} against {version} on Python {python}"


def test_the_lock_has_no_hashes_no_hosts_and_none_of_cuda() -> None:
    text = "\n".join(LOCK)
    assert not re.search(r"--hash|://|--index|--find-links", text)
    assert not [r.name for r in LOCKED if re.match(r"cuda|nvidia|triton", r.name)]


def test_environment_yml_installs_the_lock() -> None:
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    assert "- --requirement requirements/main.txt" in text
    python = re.search(r"- python=(3\.\d+)", text)
    assert python
    assert python.group(1) in PYTHONS


def test_the_version_stands_in_one_piece() -> None:
    assert clmkit.__version__ == PROJECT["version"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"
