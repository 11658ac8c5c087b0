"""The one exception that is meant for the person at the keyboard."""


class InputError(ValueError):
    """Something given to the program (file, option, checkpoint) cannot be used.

    The message is one line: what was given, what was expected, what to do. Entry points print it without a traceback.
    """
