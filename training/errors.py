class UserError(Exception):
    """A mistake the person can mend; its message says what, where and what to do. The command line prints it alone."""
