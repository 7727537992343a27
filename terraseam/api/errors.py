"""What functions raise where the command line prints a sentence and exits."""

from __future__ import annotations


class TerraseamError(Exception):
    """A command did not do what it was asked for; the text is the sentence of the command line.

    Attributes:
        status: Exit status that the command line has in this case: 1 where it failed, 2 where it cannot succeed as it was
            asked, 130 where it was interrupted. Of a process that was killed, the number of the signal, negative.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status

    def __reduce__(self) -> tuple[type[TerraseamError], tuple[str, int]]:
        return type(self), (str(self), self.status)


class RefusedError(TerraseamError, ValueError):
    """Options are wrong, or a plan cannot succeed: nothing has been done. The text lists every reason."""


class FailedError(TerraseamError, RuntimeError):
    """A command failed, was interrupted from elsewhere, or its process was killed. The text says how to go on."""


REFUSED = 2
"""The exit status of commands that refuse what they were asked."""


def error_of(text: str, status: int) -> TerraseamError:
    """Return the exception for a command that ended with an exit status other than 0."""
    return RefusedError(text, status) if status == REFUSED else FailedError(text, status)
