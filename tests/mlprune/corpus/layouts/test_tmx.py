"""TMX: segments, markup, other encodings, and files that are not safe."""

from pathlib import Path

import pytest

from mlprune.corpus.sources import ParallelCorpus
from mlprune.errors import CorpusError

UNITS = """<tu><tuv lang="EN-US"><seg>Press <bpt i="1">&lt;b&gt;</bpt>Start<ept i="1">&lt;/b&gt;</ept>
now &amp; <hi>wait</hi>.</seg></tuv><tuv lang="FR-FR"><seg>Appuyez.</seg></tuv></tu>
<tu><tuv lang="EN-US"><seg>No counterpart</seg></tuv></tu>
<tu><tuv lang="EN-US"><seg>Two</seg></tuv><tuv lang="FR-FR"><seg>Deux</seg></tuv>
<tuv lang="FR-FR"><seg>Autre</seg></tuv></tu>"""


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "iso-8859-1"])
def test_segments_are_read_without_markup_of_other_formats(tmp_path: Path, encoding: str) -> None:
    document = f'<?xml version="1.0" encoding="{encoding}"?><tmx><body>{UNITS}</body></tmx>'
    (tmp_path / "a.tmx").write_bytes(document.encode(encoding))
    corpus = ParallelCorpus(tmp_path / "a.tmx")
    assert corpus.lines("en") == ("Press Start now & wait.", "Two")
    assert corpus.lines("fr") == ("Appuyez.", "Deux")


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ('<!DOCTYPE tmx [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>', "declares an entity"),
        ('<!DOCTYPE tmx [<!ENTITY a SYSTEM "file:///etc/hostname">]>', "declares an entity"),
        ("<tmx><body><tu>", "cannot be read"),
        ('<?xml version="1.0" encoding="no-such-code"?>', "cannot be read"),
        ('<?xml version="1.0" encoding="shift_jis"?>', "cannot be read"),
    ],
)
def test_entities_and_broken_xml_are_refused(tmp_path: Path, head: str, message: str) -> None:
    (tmp_path / "a.tmx").write_text(f"{head}<tmx><body>{UNITS}</body></tmx>")
    with pytest.raises(CorpusError, match=message) as caught:
        ParallelCorpus(tmp_path).lines("en")
    assert caught.value.context["file"] == str(tmp_path / "a.tmx")
