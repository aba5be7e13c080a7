"""The exception for a mistake that a user can mend, and the warning for what is possible but hardly meant."""


class InputError(ValueError):
    """A user's file, field or option is wrong.

    The message is one clear line: it names the file, field or option, the value found and what would be right. The
    command line prints it without a traceback and exits with code 2.
    """


class Unavailable(InputError):
    """What a run stands on is away, full or broken: its data folder, its disk, the store, its device.

    That is no configuration's fault. Nothing is counted as failed, and `--resume` goes on once it is there again.
    """


class InputWarning(UserWarning):
    """What was asked for is possible, and hardly meant; or a choice that was made for a user. One clear line, as above.

    Given to `warnings.warn`, which a notebook and a worker show; the command line prints it as `warning: …`.
    """
