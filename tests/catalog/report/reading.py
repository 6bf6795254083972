"""A parsed page: its elements in order, the content of each section, and the data below each exhibit."""

import base64
import csv
import gzip
import io
import json
from dataclasses import dataclass, field
from functools import cached_property
from html.parser import HTMLParser

ATTACK = "<script>alert(1)</script>$x_\"'--><img src=x onerror=alert(2)>"
"""A language, a name and a message; the dollar would also start a formula in a figure."""

VOID = {"meta", "link", "input"}


@dataclass
class Element:
    """A start tag, its attributes, and all text inside it, which can be read when the page has been parsed."""

    tag: str
    attributes: dict[str, str]
    ancestors: tuple["Element", ...]
    data: list[str] = field(default_factory=list, repr=False)

    @cached_property
    def text(self) -> str:
        return "".join(self.data)

    @property
    def section(self) -> str:
        """Id of its section; empty outside of sections."""
        return next((one.attributes["id"] for one in self.ancestors if one.tag == "section"), "")

    def is_in(self, other: "Element") -> bool:
        return any(one is other for one in self.ancestors)


@dataclass
class Origin:
    """The SQL below an exhibit, its parameters, and the rows of its table and of its CSV file."""

    name: str
    section: str
    sql: str
    parameters: dict[str, object]
    table: list[list[str]] = field(default_factory=list)
    csv: list[list[str]] = field(default_factory=list)


class Reader(HTMLParser):
    """Parses a page strictly: every end tag closes the element that is open."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self._open: list[Element] = []
        self.feed(page)
        self.close()
        assert not self._open, [element.tag for element in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs}, tuple(self._open))
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {key: value or "" for key, value in attrs}, tuple(self._open)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open[-1].tag == tag, (tag, self._open[-1])
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.data.append(data)

    def find(self, tag: str, *, section: str | None = None, **attributes: str) -> list[Element]:
        """Elements of a tag, in a section, with these attributes (`class_` for class)."""
        wanted = {key.rstrip("_"): value for key, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag
            and section in (None, element.section)
            and wanted.items() <= element.attributes.items()
        ]

    def panels(self, section: str) -> list[Element]:
        """Pictures and heat maps, which have a label for screen readers."""
        pictures, tables = (
            self.find("svg", section=section, role="img"),
            self.find("table", section=section, class_="heat"),
        )
        return sorted((*pictures, *tables), key=self.elements.index)

    @cached_property
    def origins(self) -> list[Origin]:
        return [self._origin(details) for details in self.find("details", class_="origin")]

    def _origin(self, details: Element) -> Origin:
        inside = [element for element in self.elements if element.is_in(details)]
        sql = next(element.text for element in inside if element.tag == "pre")
        parameters = json.loads(details.attributes["data-parameters"])
        origin = Origin(details.attributes["data-query"], details.section, sql, parameters)
        for element in inside:
            if element.tag == "tr":
                origin.table.append([])
            elif element.tag in ("td", "th"):
                origin.table[-1].append(element.text)
            elif element.tag == "a":
                data = base64.b64decode(element.attributes["href"].partition("base64,")[2])
                is_packed = element.attributes["download"].endswith(".gz")
                text = (gzip.decompress(data) if is_packed else data).decode()
                origin.csv = list(csv.reader(io.StringIO(text)))
        return origin
