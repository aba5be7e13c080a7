"""The exceptions for mistakes of a user and for missing resources, and the warning for unlikely requests."""


class InputError(ValueError):
    """A user's file, field or option is wrong.

    The message is one clear line: it names the file, field or option, the value found and what is expected. The
    command line prints it without a traceback and exits with code 2.
    """


class Unavailable(InputError):
    """A resource of a run is missing, full or broken: its data folder, its disk, the store, its device.

    That is no configuration's fault. Nothing is counted as failed, and `--resume` goes on once it is there again.
    """


class InputWarning(UserWarning):
    """A request is possible but probably unintended, or a choice was made for the user. One clear line, as above.

    Passed to `warnings.warn`, which a notebook and a worker show; the command line prints it as `warning: …`.
    """
