"""The one kind of error that a person is meant to read."""


class UserError(Exception):
    """A mistake that the user can mend: what is wrong, where, and what to do, in two lines."""
