"""Write parallel sentences of LibreOffice's translations: am.txt, cy.txt, ga.txt and en.txt, one sentence a line.

    apt-get download libreoffice-l10n-am libreoffice-l10n-cy libreoffice-l10n-ga
    for package in *.deb; do dpkg-deb -x "$package" unpacked; done
    python sentences.py unpacked/usr/lib/libreoffice/program/resource office

A sentence is kept if all languages have it, its English has 8 to 40 words, and it has no mark-up and no placeholder.
"""

import gettext
import re
import sys
from pathlib import Path

LANGUAGES = ("am", "cy", "ga")


def translations(folder: Path) -> dict[str, str]:
    """Return English sentence -> translation, from all message files of a language."""
    pairs: dict[str, str] = {}
    for path in sorted(folder.glob("LC_MESSAGES/*.mo")):
        if path.stat().st_size:
            with path.open("rb") as file:
                catalog = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
            for message, translation in catalog.items():
                english = message.split("\x04")[-1] if isinstance(message, str) else ""
                if is_sentence(english) and translation.strip() not in ("", english):
                    pairs[english] = " ".join(translation.split())
    return pairs


def is_sentence(english: str) -> bool:
    """Return whether an English message is a sentence of 8 to 40 words without mark-up."""
    has_marks = re.search(r"[<>{}%$\n\\_~#|=]", english)
    return 8 <= len(english.split()) <= 40 and not has_marks and english.endswith((".", "?", "!"))


def main(source: str, out: str) -> None:
    """Write one file per language, with the sentences in the order of their English."""
    found = {language: translations(Path(source) / language) for language in LANGUAGES}
    common = sorted(set.intersection(*(set(pairs) for pairs in found.values())))
    found["en"] = {english: english for english in common}
    Path(out).mkdir(parents=True, exist_ok=True)
    for language, pairs in found.items():
        (Path(out) / f"{language}.txt").write_text("".join(f"{pairs[key]}\n" for key in common), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
