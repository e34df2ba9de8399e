"""The house: each module imports only what stands above it, and there is no circle."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# In the order of the course; a wing stands where the first of its users may come after it.
FLOORS = ("messages", "saving", "kernels", "hub", "costs", "paths", "tracks", "row_places")
FLOORS += ("columns", "texts", "packed", "kept")
FLOORS += (
    "json_shapes",
    "json_rows",
    "csv_rows",
    "parquet_rows",
    "aligned",
    "files",
    "eli5",
    "gigatokens",
    "tokenization",
    "chunking",
    "plain_head",
    "evaluation",
    "prompts",
    "generation",
    "conversations",
    "widgets",
    "training",
    "scale",
    "doctor",
    "__main__",
)
STEPS = FLOORS[FLOORS.index("costs") : FLOORS.index("widgets")]
WINGS = ("hub", "widgets", "training", "scale")
MODULES = sorted(path for path in (ROOT / "clmkit").rglob("*.py") if path.name != "__init__.py")


def floor(module: str) -> str:
    """The room or the wing that a module ``clmkit.room`` or ``clmkit.wing.module`` belongs to."""
    return module.split(".")[1]


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts)


def imported(path: Path) -> set[str]:
    """The modules of clmkit and tools that a file imports, wherever in the file it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = [node.module or ""]
            names += [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            file = ROOT / Path(*name.split(".")).with_suffix(".py")
            if name.split(".")[0] == "tools" or (name.startswith("clmkit.") and file.is_file()):
                found.add(name)
    return found


def may_import(one: str, other: str) -> bool:
    """Whether DESIGN's table lets a module of one floor import one of another."""
    if one == other:
        return one in WINGS
    if one == "hub":
        return other in ("messages", "saving", "kernels")
    if one in STEPS and other in WINGS:
        return other == "hub"
    if other in ("scale", "doctor", "__main__"):
        return one == "__main__"
    return one != "messages" and FLOORS.index(other) < FLOORS.index(one)


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_imports_only_what_stands_above_it(path: Path) -> None:
    one = floor(module_name(path))
    wrong = [other for other in imported(path) if other.startswith("tools") or not may_import(one, floor(other))]
    assert not wrong


def test_every_module_has_its_floor() -> None:
    assert {floor(module_name(path)) for path in MODULES} == set(FLOORS)


def test_there_is_no_circle() -> None:
    graph = {module_name(path): imported(path) for path in MODULES}
    while free := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in free:
            del graph[name]
    assert not graph


def test_tools_and_tests_are_no_part_of_the_house() -> None:
    assert not [path for path in MODULES if any(name.split(".")[0] in ("tools", "tests") for name in imported(path))]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_a_module_fits_on_a_few_screens_and_a_function_on_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = node.body[0] if ast.get_docstring(node) else None
            own = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
            assert (node.end_lineno or 0) - node.lineno + 1 - own <= 40, node.name
