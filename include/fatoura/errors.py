"""The errors that the rest of the system reacts to by kind: retry, refuse, or stop and ask a person.

Every module raises one of these (or a subclass of its own) for what comes from outside. Messages say
what is wrong, where (file, row, field) and what to do; they never hold a phone number, a message's
text or a key.
"""


class FatouraError(Exception):
    """Base of all errors that a person is meant to read."""


class NeedsAPerson(FatouraError):
    """Trying again unchanged cannot help: somebody must read the message and mend what it names."""


class BadInput(NeedsAPerson):
    """Something from outside is wrong. Exit code 1 of the command."""


class NotReady(FatouraError):
    """Something outside is not there yet (a service that starts, a lock that is held): try again."""
