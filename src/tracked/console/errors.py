"""The ways in which a verb ends early: a user error, a known failure, a signal."""

import signal

from tracked.console.secrets import hide


class UserError(ValueError):
    """A mistake of the user. The message is the one line that they see, without secrets."""

    def __init__(self, message: object = "") -> None:
        super().__init__(hide(str(message)))


class RunFailed(RuntimeError):
    """A failure with a known cause. The message names it on one line, without secrets."""

    def __init__(self, message: object = "") -> None:
        super().__init__(hide(str(message)))


class StoreFailed(RunFailed):
    """A store that did not take or answer something; what was made until then is in the run folder, if there is one."""


class NameRefused(RunFailed):
    """A registry that gives no right to a registered model's name; another name may be free."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C or SIGTERM. Not an ``Exception``, so that no library catches it as one."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum
