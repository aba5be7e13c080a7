"""The one exception for a mistake that a user can mend."""


class InputError(ValueError):
    """A user's file, field or option is wrong.

    The message is one clear line: it names the file, field or option, the value found and what would be right. The
    command line prints it without a traceback and exits with code 2.
    """
