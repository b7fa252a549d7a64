class UserError(Exception):
    """A mistake the person can mend; its message says what, where and what to do. The command line prints it alone."""

    __module__ = "builtins"  # else ComfyUI shows the whole way to this file before the message

    def __init_subclass__(cls):
        cls.__module__ = UserError.__module__


class NotHere(UserError):
    """What goes well on another machine or later: a full disk, a folder that another process holds."""
