"""Write the address under ``[project.urls]`` into every Colab badge, link to Colab and install line of the course.

    python -m tests.notebooks.addresses

Publish the course elsewhere: change ``Repository`` in pyproject.toml, then ``make addresses``.
"""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
REPOSITORY: str = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["urls"]["Repository"]
INSTALL_FROM = f"git+{REPOSITORY}"
PAGES = [ROOT / "README.md", *sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))]


def with_addresses(text: str, path: Path, repository: str = REPOSITORY) -> str:
    """A page with the repository's address in the place of any other.

    Args:
        text: The page as it is stored: Markdown, or a notebook's JSON.
        path: Where it is stored, relative to the repository. A notebook's links to Colab open that notebook.
        repository: The address, on GitHub.
    """
    colab = repository.replace("https://github.com", "https://colab.research.google.com/github")

    def link(found: re.Match[str]) -> str:
        return f"{colab}/blob/main/{path.as_posix() if path.suffix == '.ipynb' else found[1]}"

    text = re.sub(r"https://colab\.research\.google\.com/github/[^/]+/[^/]+/blob/main/([^)\s]+)", link, text)
    return re.sub(r'git\+https://[^\s"\\]+', f"git+{repository}", text)


def main() -> None:
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if (new := with_addresses(text, page.relative_to(ROOT))) != text:
            page.write_text(new, encoding="utf-8")
            print(page.relative_to(ROOT))


if __name__ == "__main__":
    main()
