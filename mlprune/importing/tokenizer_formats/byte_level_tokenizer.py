"""vocab.json and merges.txt of a byte-level BPE (GPT-2, mGPT, OPT) as tokenizer.json."""

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from mlprune.errors import ModelError, reason_of
from mlprune.given_files import read_given_text
from mlprune.json_values import as_int
from mlprune.models.checkpoint.weight_files import read_json_object

VOCABULARY, MERGES = "vocab.json", "merges.txt"


def byte_level_tokenizer(folder: Path, *, add_prefix_space: bool, special: tuple[str, ...]) -> Tokenizer:
    """Return the tokenizer of vocab.json and merges.txt in a folder.

    Args:
        add_prefix_space: whether a text gets a space in front.
        special: special tokens; those that the vocabulary lacks are left out.
    Raises:
        ModelError: a file is damaged, or the two do not belong together.
    """
    entries = read_json_object(folder / VOCABULARY)
    try:
        vocabulary = {token: as_int(number) for token, number in entries.items()}
        merges = _merges(read_given_text(folder / MERGES))
        tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    except Exception as err:  # the library raises a bare Exception for a merge of unknown tokens
        message = "vocab.json and merges.txt are not a tokenizer"
        raise ModelError(message, path=str(folder), reason=reason_of(err)) from err
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    tokenizer.decoder = decoders.ByteLevel()
    known = [token for token in special if token in entries]
    tokenizer.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in known])
    return tokenizer


def _merges(text: str) -> list[tuple[str, str]]:
    """Parse merges.txt: a line with the version, then one pair per line."""
    lines = text.split("\n")
    pairs = [tuple(line.rstrip("\r").split(" ")) for line in lines if line.strip() and not line.startswith("#version")]
    wrong = [pair for pair in pairs if len(pair) != 2]
    if wrong:
        raise ValueError(f"a line of merges.txt is not a pair: {' '.join(wrong[0])[:80]!r}")
    return [(pair[0], pair[1]) for pair in pairs]
