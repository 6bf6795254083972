"""Codes of languages in the data sets of Masakhane: three letters of ISO 639-3, also where a macrolanguage is meant."""

from mlprune.corpus.layouts.text_layout import recipe_tags

CODES = """
amh eng ewe fra hau ibo kin lin lug orm pcm run sna som sot swa tir twi wol xho yor zul
"""
"""Codes of AfriMMLU, AfriXNLI and MasakhaNEWS."""
AFRICAN_CODES = tuple(sorted((tag, code) for code, tag in recipe_tags(CODES.split()).items()))
"""(tag, code) of each language, such as `sw` and `swa`."""
