"""What clmkit says to a learner, in the language of the notebook that shows it.

English stands in the code. Translations stand in ``locale/LANGUAGE/LC_MESSAGES/clmkit.po``, compiled to ``.mo`` by
``make translate``. Errors and names of the API stay English, and so does what is drawn in a figure where matplotlib can
not write the learner's script.
"""

import gettext
import importlib.metadata
import os
import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from textwrap import wrap

LOCALE = Path(__file__).parent / "locale"
ENGLISH = "en"
RIGHT_TO_LEFT = ("ar", "fa", "he", "ur")
FIRST_TO_SHAPE = (3, 11)  # the version from which matplotlib joins letters, and orders them from right to left
Wording = Callable[..., str]  # ``label``, ``drawn``, or ``str.format`` for English

# Unicode's isolates: what stands between one and POP has a direction of its own.
LEFT_ISOLATE, RIGHT_ISOLATE, OWN_ISOLATE, POP = "\u2066", "\u2067", "\u2068", "\u2069"
LINE_LENGTH = 100  # with the marks; fits into JupyterLab on a laptop
VALUE_OR_CODE = re.compile(
    r"(?P<value>\{[^{}]*\})|`[^`]*`|--\w[\w-]*|\b[A-Za-z_][\w.]*(?:\([^()]*\)|=\S*[^\s.,:;)،؛])|\"[^\"]*\""
)


def languages() -> list[str]:
    """The codes of the languages that clmkit speaks."""
    return [ENGLISH, *sorted(path.parents[1].name for path in LOCALE.glob("*/LC_MESSAGES/clmkit.mo"))]


def language() -> str:
    """The language to speak: that of ``CLMKIT_LANG``, which a translated notebook's first cell sets; else English.

    Raises:
        ValueError: If ``CLMKIT_LANG`` names a language that clmkit does not speak.
    """
    chosen, known = os.environ.get("CLMKIT_LANG") or ENGLISH, languages()
    if chosen not in known:
        raise ValueError(f"CLMKIT_LANG is {chosen!r}: clmkit speaks {', '.join(known)}")
    return chosen


@cache
def _translations(code: str) -> gettext.NullTranslations:
    return gettext.NullTranslations() if code == ENGLISH else gettext.translation("clmkit", LOCALE, [code])


def _(text: str, /, **values: object) -> str:
    """A message in the learner's language.

    Args:
        text: The message in English: a whole sentence, and a literal, so that Babel finds it. ``{name}`` stands for a
            value, as in ``str.format``.
        values: The values. None is a message itself: a translator must be free to reorder the whole sentence.

    Returns:
        The message. In a language written from right to left, each line and each piece of code in it is marked with
        its direction, as output cells run from left to right.

    Raises:
        ValueError: If ``CLMKIT_LANG`` names a language that clmkit does not speak.
    """
    return _with_values(_translations(language()).gettext(text), values)


def ngettext(singular: str, plural: str, count: int, /, **values: object) -> str:
    """``_`` of a message that depends on a number, in the form that the language has for it: Arabic has six.

    Args:
        singular: The message in English for one; both are literals, as for ``_``.
        plural: The message in English for any other number.
        count: The number; ``{count}`` stands for it.
        values: Other values.
    """
    message = _translations(language()).ngettext(singular, plural, count)
    return _with_values(message, {"count": count, **values})


def label(text: str, /, **values: object) -> str:
    """``_`` without marks of direction, for what is no line of a page: the text that stands in for a picture.

    Args:
        text: The message in English, a literal, as for ``_``.
        values: The values.
    """
    return _translations(language()).gettext(text).format(**values)


def drawn(text: str, /, **values: object) -> str:
    """``label`` for what is drawn in a figure: English where matplotlib would draw letters apart and in wrong order.

    Args:
        text: The message in English, a literal, as for ``_``. In a language written from right to left its translation
            begins with a word of that language, from which matplotlib takes the line's direction.
        values: The values.
    """
    code = language() if _is_shaped() else ENGLISH
    return _translations(code).gettext(text).format(**values)


def _is_shaped() -> bool:
    """Whether the installed matplotlib can write the learner's language."""
    if language() not in RIGHT_TO_LEFT:
        return True
    version = importlib.metadata.version("matplotlib").split(".")
    return (int(version[0]), int(version[1])) >= FIRST_TO_SHAPE


def _with_values(message: str, values: Mapping[str, object]) -> str:
    """Put in the values, and mark them, pieces of code and lines with their directions. In code, values stay bare."""
    if language() in RIGHT_TO_LEFT:
        lines = [VALUE_OR_CODE.sub(_isolate, line) for line in message.split("\n")]
        message = "\n".join(f"{RIGHT_ISOLATE}{line}{POP}" for line in lines)
    return message.format(**values)


def _isolate(piece: re.Match[str]) -> str:
    return f"{OWN_ISOLATE if piece['value'] else LEFT_ISOLATE}{piece[0]}{POP}"


def join_sentences(*sentences: str) -> str:
    """Whole messages one after the other, in the direction of the language that they are in."""
    text = " ".join(sentences)
    return f"{RIGHT_ISOLATE}{text}{POP}" if language() in RIGHT_TO_LEFT else text


def html_direction() -> str:
    """The ``dir`` attribute, with a space before it, of HTML that holds messages; empty where it is left to right."""
    return ' dir="rtl"' if language() in RIGHT_TO_LEFT else ""


def break_lines(message: str) -> str:
    """Break a long message at spaces if it runs from right to left: JupyterLab's own break tears joined letters apart.

    Args:
        message: As ``_`` makes it, whole: no value for another message.

    Returns:
        Lines of at most 100 characters, each marked anew with what was open at the break.
    """
    if language() not in RIGHT_TO_LEFT:
        return message
    open_marks: list[str] = []
    lines = []
    for part in wrap(message, LINE_LENGTH, break_long_words=False, break_on_hyphens=False):
        before = "".join(open_marks)
        for sign in part:
            if sign in (LEFT_ISOLATE, RIGHT_ISOLATE, OWN_ISOLATE):
                open_marks.append(sign)
            elif sign == POP:
                open_marks.pop()
        lines.append(before + part + POP * len(open_marks))
    return "\n".join(lines)
