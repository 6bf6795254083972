"""Global PIQA: which of two or four solutions fits a situation (Chang et al. 2025, arXiv:2510.24081).

The non-parallel split has other situations, with two solutions, in each language. The parallel split has the same ones
with four solutions: translations, corrected by speakers. Both are tables `data/parallel_fra_latn_cana.tsv`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from mlprune.corpus.layouts.text_layout import recipe_tags
from mlprune.descriptions import HubSet
from mlprune.evaluation.tasks.answers import answer_index
from mlprune.evaluation.tasks.items import ChoiceItem, ItemGroup, Row, choice_item, stated_name, text_of
from mlprune.evaluation.tasks.layouts import layout
from mlprune.evaluation.tasks.tables import table_rows
from mlprune.evaluation.tasks.task import CHOICE_METRICS, Task

REGIONS: Mapping[str, str] = {
    "braz": "BR",
    "cana": "CA",
    "fran": "FR",
    "jord": "JO",
    "leba": "LB",
    "mexi": "MX",
    "pale": "PS",
    "peru": "PE",
    "port": "PT",
    "spai": "ES",
    "syri": "SY",
}
"""Four letters of a region -> its code. Other third parts name varieties, such as `slk_latn_sari`."""
CODE = r"(?P<language>[a-z]{3}_[a-z]{4}(?:_[a-z]{4})?)"
ID = "example_id"
CODES = """
acm_arab acq_arab aeb_arab afb_arab als_latn amh_ethi apc_arab_jord apc_arab_leba apc_arab_pale apc_arab_syri arb_arab
arq_arab ars_arab ary_arab arz_arab asm_beng azj_latn bam_latn bcc_arab bel_cyrl ben_beng ben_latn bgc_deva bho_deva
bos_latn bra_deva bsk_arab btx_latn bul_cyrl bxr_cyrl cat_latn ceb_latn ces_latn ckb_arab ckm_latn cls_deva cmn_hans
cmn_hant dan_latn deu_latn dhd_deva dje_latn ekk_latn ekp_latn ell_grek eng_latn eus_latn fao_latn fin_latn
fra_latn_cana fra_latn_fran glg_latn guj_gujr hau_latn haw_latn heb_hebr hin_deva hin_latn hrv_latn hun_latn hye_armn
ibo_latn idu_latn ilo_latn ind_latn isl_latn iso_latn ita_latn jav_latn jpn_jpan kan_knda kan_latn kat_geor kaz_cyrl
kin_latn kir_cyrl kor_hang lin_latn lit_latn luo_latn mag_deva mal_mlym mar_deva mkd_cyrl mni_beng mni_mtei nag_latn
nld_latn nno_latn nob_latn npi_deva ory_orya pan_guru pcm_latn pes_arab plt_latn pol_latn por_latn_braz por_latn_port
ron_latn rus_cyrl rwr_deva sin_latn sin_sinh slk_latn slk_latn_sari slv_latn slv_latn_cerk slv_latn_prle snd_arab
snd_deva spa_latn_mexi spa_latn_peru spa_latn_spai srp_cyrl srp_cyrl_torl srp_latn srp_latn_torl sun_latn swe_latn
swh_latn swv_deva tam_latn tam_taml tel_latn tel_telu tgl_latn tha_thai tur_latn uig_arab ukr_cyrl urd_arab urd_latn
urh_latn uzn_latn vie_latn xho_latn yor_latn yue_hant zsm_latn zul_latn
"""
"""Codes of the languages of both splits."""


def standard_code(code: str) -> str:
    """Return a code with the usual form of script and region: `fra_latn_cana` is `fra_Latn_CA`."""
    language, script, *rest = code.split("_")
    return "_".join([language, script.capitalize(), *(REGIONS.get(part, part.capitalize()) for part in rest)])


STANDARD = {standard_code(code): code for code in CODES.split()}
"""Code in its usual form -> code in names of files."""
CONFIGS = tuple(sorted((tag, STANDARD[code]) for code, tag in recipe_tags(list(STANDARD)).items()))
"""(tag, code) of each language."""


def global_piqa_parallel() -> Task:
    """Solutions of practical problems, four each, the same in all languages."""
    return Task(
        "global_piqa_parallel",
        CHOICE_METRICS,
        ("prompt", *solutions(4), "label"),
        four_solutions_item,
        ties="shared",
        texts=("prompt", *solutions(4)),
        groups=piqa_groups,
        citation="Chang et al. 2025, arXiv:2510.24081",
        dataset=HubSet(
            name="mrlbenchmarks/global-piqa-parallel",
            files=("data/parallel_{config}.tsv",),
            splits=(("test", "test"),),
            configs=CONFIGS,
            id=(ID,),
        ),
        layouts=(
            layout.TaskLayout(
                "global_piqa_parallel",
                ("global_piqa_parallel",),
                "data/parallel_fra_latn_cana.tsv",
                _find("parallel", 4),
                _read,
            ),
        ),
    )


def global_piqa() -> Task:
    """Solutions of practical problems, two each, by authors of each language."""
    return Task(
        "global_piqa",
        CHOICE_METRICS,
        ("prompt", *solutions(2), "label"),
        two_solutions_item,
        ties="shared",
        texts=("prompt", *solutions(2)),
        groups=piqa_groups,
        citation="Chang et al. 2025, arXiv:2510.24081",
        dataset=HubSet(
            name="mrlbenchmarks/global-piqa-nonparallel",
            files=("data/nonparallel_{config}.tsv",),
            splits=(("test", "test"),),
            configs=CONFIGS,
            id=(ID,),
            aligned=False,
        ),
        layouts=(
            layout.TaskLayout(
                "global_piqa", ("global_piqa",), "data/nonparallel_fra_latn_cana.tsv", _find("nonparallel", 2), _read
            ),
        ),
    )


def solutions(n: int) -> tuple[str, ...]:
    """Return the keys of n solutions."""
    return tuple(f"solution{number}" for number in range(n))


def piqa_item(example_id: str, row: Row, *, n: int) -> ChoiceItem:
    """`{prompt} {solution}` with each of n solutions, as the authors score models without instructions."""
    prompt = text_of(row, "prompt").strip()
    parts = [text_of(row, key).strip() for key in solutions(n)]
    gold = answer_index(row, "label", parts, kind="number")
    return choice_item(example_id, parts, context=f"{prompt} ", parts=parts, gold=gold)


def two_solutions_item(example_id: str, row: Row) -> ChoiceItem:
    """An item of the non-parallel split."""
    return piqa_item(example_id, row, n=2)


def four_solutions_item(example_id: str, row: Row) -> ChoiceItem:
    """An item of the parallel split."""
    return piqa_item(example_id, row, n=4)


def piqa_groups(rows: Sequence[Row]) -> Sequence[ItemGroup]:
    """The category is `categories`, which the parallel split has."""
    return [ItemGroup(category=stated_name(row, "categories")) for row in rows]


def _find(split: str, n: int) -> Callable[[layout.FileTree], Iterator[layout.TaskFile]]:
    def find(tree: layout.FileTree) -> Iterator[layout.TaskFile]:
        files = list(layout.files_named(tree, rf"{split}_{CODE}\.(?:tsv|jsonl)", splits={}))
        codes = {file.name: standard_code(_code(file.name)) for file in files}
        tags = recipe_tags(list(codes.values()))
        for file in files:
            if {"prompt", "label", ID, *solutions(n)} <= set(layout.first_keys(tree.file(file.name))):
                yield replace(file, language=tags[codes[file.name]])

    return find


def _code(name: str) -> str:
    match = re.search(rf"parallel_{CODE}\.", name)
    assert match is not None, "the file was found by its name"
    return match["language"]


def _read(tree: layout.FileTree, file: layout.TaskFile) -> Sequence[Row]:
    """Read a table. An id without the code of the language is the same in all languages of the parallel split."""
    code = _code(file.name)
    is_parallel = not file.name.rpartition("/")[2].startswith("non")
    rows = table_rows(tree.file(file.name))
    return [{**row, "id": _plain_id(row, code) if is_parallel else f"{file.language}:{row[ID]}"} for row in rows]


def _plain_id(row: Row, code: str) -> str:
    return str(row[ID]).replace(code, "").strip("_-")
