"""Pages of the API reference, from the signatures and docstrings in clmkit's files.

The files are parsed and not imported: half of what they import is in the other kernel, and a page should not take the
seconds that torch and TensorFlow take to start.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent

from sphinx.ext.napoleon import Config
from sphinx.ext.napoleon.docstring import GoogleDocstring

NAPOLEON = Config(napoleon_use_ivar=True)


def heading(text: str) -> str:
    """A title in reStructuredText."""
    return f"{text}\n{'=' * len(text)}\n"


def api_page(name: str, path: Path, note: str = "") -> str:
    """The page of a module, in reStructuredText.

    Args:
        name: The module's name, as it is imported.
        path: Its file.
        note: A paragraph to stand below the module's docstring.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"))
    parts = [heading(name), f".. py:module:: {name}\n", f"{ast.get_docstring(tree) or ''}\n", f"{note}\n"]
    return "\n".join([*parts, *_members(tree.body, "function")])


def summary(path: Path) -> str:
    """The first paragraph of a module's docstring, on one line."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return " ".join(docstring.split("\n\n")[0].split())


def _members(body: list[ast.stmt], function: str) -> Iterator[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
            kind = "property" if _is_property(node) else function
            arguments = "" if kind == "property" else f"({_arguments(node.args)})"
            typed = f"\n   :type: {returns[4:]}" if kind == "property" else ""
            signature = f"{node.name}{arguments}{'' if kind == 'property' else returns}{typed}"
            yield _described(kind, signature, node)
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            bases = ", ".join(map(ast.unparse, node.bases))
            yield _described("class", f"{node.name}({bases})" if bases else node.name, node)
            described = "Attributes:" in (ast.get_docstring(node) or "")
            body = [item for item in node.body if not (described and isinstance(item, ast.AnnAssign))]
            yield indent("\n".join(_members(body, "method")), "   ")
        elif function == "method" and isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            value = f"\n   :value: {ast.unparse(node.value)}" if node.value else ""
            yield f".. py:attribute:: {node.target.id}\n   :type: {ast.unparse(node.annotation)}{value}\n"


def _is_property(node: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in node.decorator_list)


def _arguments(arguments: ast.arguments) -> str:
    """The arguments as they are written, without ``self``."""
    arguments.args = [argument for argument in arguments.args if argument.arg not in ("self", "cls")]
    return ast.unparse(arguments)


def _described(kind: str, signature: str, node: ast.FunctionDef | ast.ClassDef) -> str:
    docstring = str(GoogleDocstring(ast.get_docstring(node) or "", NAPOLEON))  # type: ignore[arg-type]
    return f".. py:{kind}:: {signature}\n\n{indent(docstring, '   ')}\n"
