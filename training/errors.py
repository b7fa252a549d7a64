class UserError(Exception):
    """A mistake the person can mend; its message says what, where and what to do. The command line prints it alone."""


class NotHere(UserError):
    """What goes well on another machine or later: a full disk, a folder that another process holds."""
