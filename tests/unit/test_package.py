import ast
import subprocess
import sys
from pathlib import Path

import pytest

import clmkit

HEAVY = ("torch", "transformers", "tensorflow", "datasets", "keras")


def public_definitions() -> dict[str, ast.FunctionDef | ast.ClassDef]:
    """Every public function and class of clmkit, and every public method, read without an import of any framework."""
    found: dict[str, ast.FunctionDef | ast.ClassDef] = {}
    for name, tree in SOURCES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                found[f"{name}.{node.name}"] = node
                methods = [part for part in ast.iter_child_nodes(node) if isinstance(part, ast.FunctionDef)]
                if isinstance(node, ast.ClassDef):
                    public = [method for method in methods if not method.name.startswith("_")]
                    found |= {f"{name}.{node.name}.{method.name}": method for method in public}
    return found


ROOT = Path(clmkit.__file__).parent
SOURCES = {
    ".".join(("clmkit", *path.relative_to(ROOT).with_suffix("").parts)): ast.parse(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.rglob("*.py"))
}
PUBLIC = public_definitions()
FUNCTIONS = {name: node for name, node in PUBLIC.items() if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("module", ["clmkit", "clmkit.__main__", "clmkit.tracks", "clmkit.bundled", "clmkit.kernels"])
def test_importing_loads_no_framework(module: str) -> None:
    script = f"import sys, {module}; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert answer.stdout.split() == []


def test_the_modules_that_both_kernels_share_do_without_pytorch() -> None:
    # The Keras kernel has no torch; None in sys.modules makes its import fail.
    shared = ("tracks", "files", "texts", "eli5", "tokenization", "chunking", "evaluation", "saving")
    shared += ("hub.login", "hub.client", "hub.download", "hub.upload", "training.tuned_models", "training.model_card")
    script = "import sys; sys.modules['torch'] = None\n" + "".join(f"import clmkit.{module}\n" for module in shared)
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert clmkit.__version__ == version("clmkit")


@pytest.mark.parametrize("name", SOURCES)
def test_every_module_has_a_docstring(name: str) -> None:
    assert ast.get_docstring(SOURCES[name]) or not SOURCES[name].body


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_function_has_a_docstring_of_its_own(name: str) -> None:
    assert ast.get_docstring(PUBLIC[name]), f"{name} has no docstring"


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_has_complete_type_hints(name: str) -> None:
    arguments = FUNCTIONS[name].args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]
    bare = [word.arg for word in named if word and word.annotation is None and word.arg not in ("self", "cls")]
    assert bare == [], f"{name}: no type of {bare}"
    assert FUNCTIONS[name].returns, f"{name}: no return type"
