import importlib
import inspect
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import clmkit

MODULES = [info.name for info in pkgutil.walk_packages(clmkit.__path__, "clmkit.")]
HEAVY = ("torch", "transformers", "tensorflow", "datasets", "keras")


def public_callables() -> list[tuple[str, Callable[..., Any]]]:
    """Every public function and class of clmkit, and every public method of its classes."""
    found: dict[str, Callable[..., Any]] = {}
    for module in map(importlib.import_module, MODULES):
        for name, thing in vars(module).items():
            if name.startswith("_") or getattr(thing, "__module__", None) != module.__name__:
                continue
            if inspect.isfunction(thing) or inspect.isclass(thing):
                found[f"{module.__name__}.{name}"] = thing
            if inspect.isclass(thing):
                methods = {key: value for key, value in vars(thing).items() if inspect.isfunction(value)}
                named = {key: value for key, value in methods.items() if not key.startswith("_")}
                found |= {f"{module.__name__}.{name}.{key}": value for key, value in named.items()}
    return sorted(found.items())


PUBLIC = public_callables()


def test_the_modules_of_the_design_are_there() -> None:
    modules = "tracks", "eli5", "tokenization", "chunking", "evaluation", "generation", "hub", "training.trainer"
    assert {f"clmkit.{module}" for module in modules} <= set(MODULES)


@pytest.mark.parametrize("module", ["clmkit", "clmkit.tracks", "clmkit.bundled"])
def test_importing_loads_no_framework(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_the_modules_that_both_kernels_share_do_without_pytorch() -> None:
    # The Keras kernel has no torch; None in sys.modules makes its import fail.
    script = "import sys; sys.modules['torch'] = None\n" + "".join(
        f"import clmkit.{module}\n" for module in ("tracks", "eli5", "tokenization", "chunking", "evaluation", "hub")
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert clmkit.__version__ == version("clmkit")


@pytest.mark.parametrize("name", ["clmkit", *MODULES])
def test_every_module_has_a_docstring(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ or not Path(str(module.__file__)).read_text(encoding="utf-8").strip()


@pytest.mark.parametrize(("name", "thing"), PUBLIC, ids=[name for name, _ in PUBLIC])
def test_every_public_function_has_a_docstring_of_its_own(name: str, thing: Callable[..., Any]) -> None:
    # Of a class without one, NamedTuple and dataclass make one out of its fields.
    made_up = f"{thing.__name__}("
    assert thing.__doc__, f"{name} has no docstring"
    assert not thing.__doc__.startswith(made_up), f"{name} has no docstring of its own"


FUNCTIONS = [(name, thing) for name, thing in PUBLIC if inspect.isfunction(thing)]


@pytest.mark.parametrize(("name", "function"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_every_public_function_has_complete_type_hints(name: str, function: Callable[..., Any]) -> None:
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty, f"{name}: no return type"
    bare = [
        parameter.name
        for parameter in signature.parameters.values()
        if parameter.annotation is inspect.Parameter.empty and parameter.name != "self"
    ]
    assert bare == [], f"{name}: no type of {bare}"
