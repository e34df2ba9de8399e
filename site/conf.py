"""How Sphinx reads the sources that ``tools/site.py`` lays out; each language is a build of its own."""

from typing import Any

from babel import Locale
from sphinx.application import Sphinx

from tools import site
from tools.site_search import SearchArabic

project = "clmkit"
html_theme = "furo"
extensions = ["myst_nb"]
templates_path = ["templates"]
html_static_path = ["static"]
html_favicon = "static/icon.svg"
html_css_files = ["site.css"]
html_js_files = ["site.js"]
smartquotes_action = "D"  # dashes, which Sphinx writes as two hyphens; the prose stands as its author wrote it

nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "image/png", 10), ("html", "text/plain", 20)]
nb_merge_streams = True
myst_heading_anchors = 4

python_display_short_literal_types = True
python_use_unqualified_type_names = True

html_copy_source = False
html_domain_indices = False
html_show_copyright = False
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
html_theme_options = {
    "top_of_page_buttons": ["view"],  # templates/components/view-this-page.html is the switch of languages
    "light_css_variables": {"color-brand-primary": "#0b5c8a", "color-brand-content": "#0b5c8a"},
    "dark_css_variables": {"color-brand-primary": "#6cb8e6", "color-brand-content": "#6cb8e6"},
}


def _add_links(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: object) -> None:
    language = app.config.language
    context["direction"] = Locale.parse(language).text_direction
    context["twins"] = [
        (code, site.own_name(code), site.twin(pagename, language, code))
        for code in app.config.course_languages.split(",")
        if code != language
    ]
    context["english_pages"] = {}
    if language != site.SOURCE:
        pages = site.ENGLISH_PAGES.items()
        context["english_pages"] = {page: title for page, title in pages if page not in app.env.found_docs}
    context["repository"] = site.REPOSITORY
    context["notebook"] = None
    if pagename.startswith("notebooks/"):
        context["notebook"] = site.notebook_path(pagename, language)
        context["colab"] = site.COLAB + context["notebook"]
        context["minutes"] = site.minutes_to_read(site.ROOT / context["notebook"])
        context["lab"] = site.LAB + context["notebook"].removeprefix("notebooks/")


def setup(app: Sphinx) -> None:
    """Add what the templates need, and a search that finds Arabic words however they are vowelled."""
    app.add_config_value("course_languages", site.SOURCE, "html")
    app.add_search_language(SearchArabic)
    app.connect("html-page-context", _add_links)
