"""How work ends that does not come to its end: a mistake of the user's, a known failure, a signal."""

import signal


class UserError(ValueError):
    """A mistake of the user's. The message is the one line that they see."""


class RunFailed(RuntimeError):
    """The work failed for a reason that is known. The message says which, on one line."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. Not an ``Exception``, so that no library takes it for one."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
