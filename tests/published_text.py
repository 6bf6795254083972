"""Small parallel text in the layouts of its publishers, as tests write it."""

import gzip
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

SENTENCES: Mapping[str, tuple[str, ...]] = {
    "en": ("One.", 'Two "2".', "Three\u2028three."),
    "fr": ("Un.", "Deux « 2 ».", "Trois."),
    "zh": ("一。", "二。", "三。"),
}
FLORES_CODES: Mapping[str, str] = {"en": "eng_Latn", "fr": "fra_Latn", "zh": "zho_Hans"}


def lines(sentences: tuple[str, ...]) -> bytes:
    return "".join(f"{sentence}\n" for sentence in sentences).encode()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


VARIANTS: Mapping[str, tuple[str, Callable[[bytes], bytes]]] = {
    "plain": ("", bytes),
    "byte-order mark and CRLF": ("", lambda data: b"\xef\xbb\xbf" + crlf(data)),
    "no last line end": ("", lambda data: data.rstrip(b"\n")),
    "gz": (".gz", gzip.compress),
    "zst": (".zst", lambda data: zstd(crlf(data))),
}
"""Variant of a text file -> ending of its name, and what it does to the bytes."""

Write = Callable[[str, bytes], None]


def plain(write: Write) -> None:
    for code, name in (("en", "en"), ("fr", "fra_Latn"), ("zh", "zho_Hans")):
        write(f"{name}.txt", lines(SENTENCES[code]))


def flores_200(write: Write) -> None:
    for split in ("dev", "devtest"):
        for language, code in FLORES_CODES.items():
            kept = SENTENCES[language] if split == "dev" else SENTENCES[language][:2]
            write(f"flores200_dataset/{split}/{code}.{split}", lines(kept))
    write("flores200_dataset/dev/zho_Hant.dev", lines(("壹。", "貳。", "參。")))
    for split, urls in (("dev", "uuv"), ("devtest", "uv")):
        rows = "".join(f"{url}\twikinews\tt\tno\tno\n" for url in urls)
        write(
            f"flores200_dataset/metadata_{split}.tsv", f"URL\tdomain\ttopic\thas_image\thas_hyperlink\n{rows}".encode()
        )


def flores_plus_archive(write: Write) -> None:
    for split in ("dev", "devtest"):
        for language, code in {**FLORES_CODES, "zh": "cmn_Hans"}.items():
            write(f"floresp-v2.0/{split}/{split}.{code}", lines(SENTENCES[language]))


def ntrex(write: Write) -> None:
    for language, name in (("en", "src.eng"), ("fr", "ref.fra"), ("zh", "ref.zho-CN")):
        write(f"NTREX-128/newstest2019-{name}.txt", lines(SENTENCES[language]))
    for name in ("ref.fra-CA", "ref.zho-TW", "ref.eng-GB", "ref-2.spa", "ref.spa"):
        write(f"NTREX-128/newstest2019-{name}.txt", lines(("x", "y", "z")))
    write("NTREX-additional/newstest2019-ref.gsw-BE.txt", lines(("x", "y", "z")))
    write("LANGUAGES.tsv", b"fra French\n")
    write("DOCUMENT_IDS.tsv", b"bbc.1\nbbc.1\nrt.com.2\n")


def moses(write: Write) -> None:
    for language, sentences in SENTENCES.items():
        write(f"Tatoeba.en-fr.{language}", lines(sentences))
    write("LICENSE", b"...")
    write("Tatoeba.en-fr.ids", b"1\n2\n3\n")


def table(write: Write) -> None:
    rows = zip(*SENTENCES.values(), strict=True)
    body = "".join("\t".join((str(number), *row)) + "\n" for number, row in enumerate(rows))
    write("xnli.15way.orig.tsv", ("\t".join(("id", *SENTENCES)) + "\n" + body).encode())


def tmx(write: Write) -> None:
    units = "".join(
        "<tu>" + "".join(f'<tuv xml:lang="{code}"><seg>{text}</seg></tuv>' for code, text in unit) + "</tu>\n"
        for unit in (zip(("en-US", "fr", "zh-CN"), row, strict=True) for row in zip(*SENTENCES.values(), strict=True))
    )
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE tmx SYSTEM "tmx14.dtd">\n<tmx version="1.4"><header/>'
    write("en-fr.tmx", f"{head}<body>\n{units}</body></tmx>\n".encode())


def wmt24pp(write: Write) -> None:
    """WMT24++: a file per pair, whose first row is a mark and one of whose sources is bad."""
    for language, code in (("fr", "fr_FR"), ("zh", "zh_CN")):
        rows = [("canary", "CANARY", "CANARY", True), ("d2", "Bad...", "x", True)]
        rows[1:1] = zip("uuv", SENTENCES["en"], SENTENCES[language], (False,) * 3, strict=True)
        objects = [
            {"lp": f"en-{code}", "domain": "news", "document_id": document, "segment_id": number}
            | {"is_bad_source": is_bad, "source": source, "target": target, "original_target": ""}
            for number, (document, source, target, is_bad) in enumerate(rows)
        ]
        write(f"en-{code}.jsonl", "".join(json.dumps(row) + "\n" for row in objects).encode())


TEXT_WRITERS: Mapping[str, Callable[[Write], None]] = {
    "plain folder": plain,
    "FLORES": flores_200,
    "FLORES+": flores_plus_archive,
    "NTREX-128": ntrex,
    "Moses": moses,
    "WMT24++": wmt24pp,
    "table with a header": table,
    "TMX": tmx,
}


def writer(folder: Path, variant: str = "plain") -> Write:
    ending, change = VARIANTS[variant]

    def write(name: str, data: bytes) -> None:
        path = folder / f"{name}{ending}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(change(data))

    return write


def flores_parquet(folder: Path, *, on_hub: bool) -> None:
    for split in ("dev", "devtest"):
        for language, code in FLORES_CODES.items():
            name = f"{code}/{split}-00000-of-00001.parquet" if on_hub else f"{split}/{code}.parquet"
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            column = "sentence" if on_hub else "text"
            url = "URL" if on_hub else "url"
            rows = [
                {"id": number, column: text, url: "uuv"[number], "domain": "wikinews"}
                for number, text in enumerate(SENTENCES[language])
            ]
            pq.write_table(pa.Table.from_pylist(rows[::-1]), folder / name)
