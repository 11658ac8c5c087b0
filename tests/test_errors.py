import pytest

from headposekit.errors import InputError, import_optional, refusing


def test_message_is_one_line_whatever_names_are_in_it() -> None:
    assert str(InputError("a\nb\x0b: é 漢")) == "a\\nb\\x0b: é 漢"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (KeyError("crop"), "net.ckpt: unusable ('crop'); restore it"),
        (OSError("first\nsecond"), "net.ckpt: unusable (first); restore it"),
        (RuntimeError(), "net.ckpt: unusable (RuntimeError); restore it"),
        (InputError("size=0 is too small"), "net.ckpt: size=0 is too small"),
        (InputError("net.ckpt: cut short"), "net.ckpt: cut short"),
    ],
    ids=repr,
)
def test_any_error_becomes_one_refusal_that_names_the_file(error: Exception, message: str) -> None:
    with pytest.raises(InputError) as refusal, refusing("net.ckpt", "unusable", "restore it"):
        raise error
    assert str(refusal.value) == message


def test_errors_of_other_kinds_are_faults_of_the_program() -> None:
    with pytest.raises(KeyError), refusing("net.ckpt", "unusable", "restore it", OSError):
        raise KeyError("crop")


def test_missing_package_is_said_with_its_remedy() -> None:
    assert import_optional("math", "install math").pi > 3
    with pytest.raises(InputError, match=r"^install nowhere$"):
        import_optional("headposekit_nowhere", "install nowhere")
