"""What a graph's caller catches: one exception, for loading and for running."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from ovms_mp.core.errors import ServingError


class GraphError(ServingError):
    """A graph cannot be loaded, or its run has failed. The text is what a server's
    client would be told; `__cause__` is the same as the layers below said it.
    """

    @classmethod
    def of(cls, error: ServingError) -> GraphError:
        """The same error for the caller. A new one each time: it is raised more than
        once, and a traceback belongs to one raise.
        """
        return cls(error.status, error.details, note=error.note)


@contextmanager
def graph_errors() -> Generator[None]:
    """What the layers below raise within becomes a GraphError."""
    try:
        yield
    except GraphError:
        raise
    except ServingError as error:
        raise GraphError.of(error) from error
