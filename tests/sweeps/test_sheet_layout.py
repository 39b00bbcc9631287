"""What lies where on a contact sheet, and its text."""

import itertools

import pytest

from jaxstyle.sweeps.sheet_layout import axes_of, blocks_of, font, wrapped


def entries_of(*axes: tuple[str, list[str]], on_axes: bool = True) -> list[dict]:
    names = [name for name, _ in axes]
    return [
        {
            "labels": list(map(list, zip(names, labels, strict=True))),
            "on_axes": on_axes,
            "at": labels,
        }
        for labels in itertools.product(*(values for _, values in axes))
    ]


def test_names_that_are_no_text_can_be_written() -> None:
    assert wrapped("a\udce9\nb", 19, 200) == ["a\\udce9\\nb"]


def test_two_axes_are_rows_and_columns() -> None:
    entries = entries_of(("a", ["1", "2"]), ("b", ["x", "y", "z"]))
    (block,) = blocks_of(entries)
    assert (block.down, block.rows) == ("a", ("1", "2"))
    assert (block.across, block.columns) == ("b", ("x", "y", "z"))
    assert [[cell.entry["at"] for cell in row] for row in block.cells] == [
        [("1", "x"), ("1", "y"), ("1", "z")],
        [("2", "x"), ("2", "y"), ("2", "z")],
    ]


def test_more_axes_are_blocks() -> None:
    entries = entries_of(("a", ["1", "2"]), ("b", ["x"]), ("c", ["p", "q"]), ("d", ["7", "8"]))
    blocks = blocks_of(entries)
    assert [block.title for block in blocks] == ["c p, d 7", "c p, d 8", "c q, d 7", "c q, d 8"]
    assert blocks[2].cells[1][0].entry["at"] == ("2", "x", "q", "7")


def test_what_is_missing_is_an_empty_place() -> None:
    entries = entries_of(("a", ["1", "2"]), ("b", ["x", "y"]))
    (block,) = blocks_of([entries[0], entries[3]])
    found = [[cell.entry is not None for cell in row] for row in block.cells]
    assert found == [[True, False], [False, True]]


def test_one_axis_is_a_row_until_it_is_long() -> None:
    (block,) = blocks_of(entries_of(("a", list("12345678"))))
    assert (block.columns, len(block.cells)) == (tuple("12345678"), 1)
    (block,) = blocks_of(entries_of(("a", list("123456789"))))
    assert block.columns == ("", "", "", "")
    assert [[cell.caption for cell in row] for row in block.cells] == [
        ["1", "2", "3", "4"],
        ["5", "6", "7", "8"],
        ["9"],
    ]


def test_rows_of_a_table_are_no_grid() -> None:
    entries = entries_of(("a", ["1", "2"]), ("b", ["x"]), on_axes=False)
    assert axes_of(entries) is None
    (block,) = blocks_of(entries)
    assert [cell.caption for cell in block.cells[0]] == ["a 1, b x", "a 2, b x"]
    assert axes_of(entries_of(("a", ["1"])) + entries_of(("b", ["1"]))) is None


@pytest.mark.parametrize("text", ["relu1_1,relu2_1,relu3_1,relu4_1,conv5_1", "x" * 99, "a b", ""])
@pytest.mark.parametrize("width", [60, 200])
def test_lines_fit_and_say_all_they_can(text: str, width: int) -> None:
    lines = wrapped(text, 19, width, most=9)
    assert all(font(19).getlength(line) <= width for line in lines)
    joined = "".join(lines)
    whole = joined.replace(" ", "") == text.replace(" ", "")
    assert whole or (joined.endswith("...") and text.startswith(joined[:20]))
