"""The ranges, the lock and environment.yml agree, and the lock installs on every machine the README names."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import clmkit
from tools.colab import colab_requirements, pins
from tools.lock import EXTRAS, TORCH, entries, read_lock

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
LOCKS = {name: read_lock(ROOT / "requirements" / name) for name in EXTRAS}
(TORCH_PIN,) = (Requirement(line) for line in TORCH.read_text(encoding="utf-8").splitlines() if line[0] != "#")
PYTHONS = ("3.11", "3.12", "3.13")


def locked_versions(lock: str, python: str) -> dict[str, str]:
    environment = {"python_version": python, "python_full_version": f"{python}.9"}
    return {
        requirement.name.lower().replace("_", "-"): str(requirement.specifier).removeprefix("==")
        for requirement in [*LOCKS[lock], *([TORCH_PIN] if lock == "main.txt" else [])]
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


@pytest.mark.parametrize("lock", LOCKS)
def test_every_locked_version_is_exact(lock: str) -> None:
    assert all(re.fullmatch(r"==[^,*]+", str(requirement.specifier)) for requirement in [*LOCKS[lock], TORCH_PIN])


def test_every_extra_is_locked_for_one_kernel() -> None:
    assert sorted(extra for extras in EXTRAS.values() for extra in extras) == sorted(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("lock", LOCKS)
def test_every_range_admits_the_locked_version_on_every_python(lock: str, python: str) -> None:
    lines = [line for extra in EXTRAS[lock] for line in PROJECT["optional-dependencies"][extra]]
    versions = locked_versions(lock, python)
    for requirement in map(Requirement, [*PROJECT["dependencies"], *lines]):
        version = versions[requirement.name.lower().replace("_", "-")]
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


@pytest.mark.parametrize("extra", [None, "torch", "keras-hub", "lora"])
def test_colab_has_what_the_ranges_ask_for_but_evaluate(extra: str | None) -> None:
    # Else an install line would replace what is there, which breaks binaries, widgets and progress bars.
    lines = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    text = (ROOT / "requirements" / "colab.txt").read_text(encoding="utf-8")
    colab = pins(text.splitlines()) | {"torch": "2.11.0"}  # the list's, which the tests' own environment can't have
    wanted = {requirement.name.replace("_", "-"): requirement.specifier for requirement in map(Requirement, lines)}
    assert set(wanted) - set(colab) == (set() if extra else {"evaluate"})
    assert not [name for name, specifier in wanted.items() if name in colab and not specifier.contains(colab[name])]


def test_a_list_without_the_courses_packages_is_refused() -> None:
    assert "datasets==4.0.0\n" in colab_requirements("datasets==4.0.0\nsome_other==1.0\n", "2026-08-19")
    with pytest.raises(ValueError, match="none of the packages"):
        colab_requirements("some_other==1.0\n", "2026-08-19")


def test_the_keras_kernel_has_the_one_transformers_that_works_there_and_no_torch() -> None:
    versions = locked_versions("keras.txt", "3.11")
    assert versions["transformers"] == "4.52.4"
    assert "torch" not in versions
    assert versions["tf-keras"].rsplit(".", 1)[0] == versions["tensorflow"].rsplit(".", 1)[0]


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_has_the_hashes_of_every_package_no_hosts_and_nothing_that_differs_by_machine(lock: str) -> None:
    text = (ROOT / "requirements" / lock).read_text(encoding="utf-8")
    found = entries(text)
    assert len(found) > 100
    for pin, hashes in found.items():
        assert hashes, f"{pin} has no hash: pip would refuse the whole lock"
        assert all(re.fullmatch("sha256:[0-9a-f]{64}", one) for one in hashes), pin
    assert sum(map(len, found.values())) == text.count("--hash"), "a hash belongs to no package"
    assert not re.search(r"://|--index|--find-links", text)
    assert not [r.name for r in LOCKS[lock] if re.match(r"torch$|cuda|nvidia|triton", r.name)]


def test_environment_yml_has_the_plain_commands_that_install_the_lock() -> None:
    # conda's own list of pip packages is one call of pip, which would want a hash of torch and of clmkit's folder too.
    text = (ROOT / "environment.yml").read_text(encoding="utf-8")
    plain = (ROOT / "MACHINES.md").read_text(encoding="utf-8").split("<!-- plain commands -->\n")[1].splitlines()
    commands = [line.split("bin/")[1] for line in plain if line.startswith("    .venv/bin/python -m pip")]
    assert len(commands) == 3
    assert re.findall("^#   (python .*)$", text, re.MULTILINE) == commands
    python = re.search(r"- python=(3\.\d+)", text)
    assert python
    assert python.group(1) in PYTHONS


def test_the_version_stands_in_one_piece() -> None:
    assert clmkit.__version__ == PROJECT["version"]
    assert PROJECT["requires-python"] == ">=3.11,<3.14"


def test_the_page_names_every_package_that_the_keras_kernel_holds_back() -> None:
    main, keras = ({r.name: str(r.specifier)[2:] for r in LOCKS[lock]} for lock in ("main.txt", "keras.txt"))
    held = {name: (version, main.get(name, "none")) for name, version in keras.items() if version != main.get(name)}
    page = (ROOT / "MACHINES.md").read_text(encoding="utf-8").split("## What is known against the Keras kernel")[1]
    rows = re.findall(r"^\| `([\w-]+)` \| (\S+) \| (\S+) \|", page, re.MULTILINE)
    assert {name: versions for name, *versions in rows} == {name: list(pair) for name, pair in held.items()}
