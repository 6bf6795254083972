from rich.cells import cell_len

from catalog.terminal.folded_text import folded, folded_line, folded_list, folded_name, longest_piece, padded, width_of


def test_texts_are_broken_between_words_and_long_words_between_characters() -> None:
    assert folded("one two three", 7) == ["one two", "three"]
    assert folded("abcdefghij k", 4) == ["abcd", "efgh", "ij", "k"]
    assert folded("a\nb", 9) == ["a", "b"]


def test_wide_characters_count_two_cells() -> None:
    lines = folded("剪枝的语言模型", 5)
    assert "".join(lines) == "剪枝的语言模型"
    assert max(map(cell_len, lines)) <= 5
    assert width_of("剪\nabc") == 3
    assert padded("剪", 4, is_right=True) == "  剪"


def test_names_are_broken_after_underscores() -> None:
    assert folded_name("n_significantly_better", 15) == ["n_", "significantly_", "better"]
    assert longest_piece("n_significantly_better") == len("significantly_")
    assert "".join(folded_name("count_star()", 6)) == "count_star()"


def test_lists_are_broken_between_items() -> None:
    assert folded_list(["task facts", "split test", "n 150"], 18) == ["task facts;", "split test; n 150"]
    assert max(map(len, folded_list(["settings " + "x" * 40, "n 1"], 20))) <= 20


def test_lines_of_a_report_are_indented_like_the_text_after_their_label() -> None:
    assert folded_line("memory: about 2 GiB per actor", 24) == ["memory: about 2 GiB per", "        actor"]
    assert folded_line("  failed: one two three", 24) == ["  failed: one two three"]
    assert folded_line("a sentence without any label", 20) == ["a sentence without", "  any label"]
    assert (
        folded_line("a_very_long_name: of a query", 20) == ["a_very_long_name: ", "  of a query"]
        or max(map(len, folded_line("a_very_long_name: of a query", 20))) <= 20
    )
