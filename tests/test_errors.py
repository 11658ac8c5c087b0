from headposekit.errors import InputError


def test_message_is_one_line_whatever_names_are_in_it() -> None:
    assert str(InputError("a\nb\x0b: é 漢")) == "a\\nb\\x0b: é 漢"
