"""The one exception that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Something given to the program (file, option, checkpoint) cannot be used.

    The message is one line: what was given, what was expected, what to do. Entry points print it without a traceback.
    """

    def __init__(self, message: str) -> None:
        # Names out of damaged files may hold line breaks and other control characters.
        super().__init__("".join(letter if letter >= " " else repr(letter)[1:-1] for letter in message))
