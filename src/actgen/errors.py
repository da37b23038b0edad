"""The one error that is meant for people: what was given, what is allowed, what to do."""


class UserError(ValueError):
    """Input that actgen cannot use. The command line prints the message and exits with code 2, without a traceback."""
