"""The style sheet and the script of the report's page, which the live page uses too."""

from pathlib import Path

from catalog.report.exhibits import style_rules

_FOLDER = Path(__file__).parent
_CELL_STYLES = "{{ cell_styles }}"
"""Place in `page.css` of the rules for the cells of heat maps."""


def style_sheet() -> str:
    """Return the CSS of the page."""
    return (_FOLDER / "page.css").read_text("utf-8").replace(_CELL_STYLES, style_rules())


def page_script() -> str:
    """Return the script of the filters. It starts by itself inside of a page, and not as a file of its own."""
    return (_FOLDER / "page.js").read_text("utf-8")
