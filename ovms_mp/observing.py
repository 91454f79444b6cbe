"""Who looks on while a process serves: pages, traces, spans, and who remembers what failed.
What they see is put together here, and closed when calls are over.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from ovms_mp import __version__
from ovms_mp.servable.watching import Watching
from ovms_mp.settings import UsageError
from ovms_mp.telemetry.exporting import NoExporter, exporter
from ovms_mp.telemetry.recent import Recent
from ovms_mp.telemetry.trace import TraceFile

if TYPE_CHECKING:
    from ovms_mp.settings import Settings
    from ovms_mp.telemetry.spans import Spans


class Observing:
    """Of one process. `end` when no more requests come, `close` when all are answered."""

    def __init__(self, settings: Settings) -> None:
        """Raises UsageError where OpenTelemetry is not installed, or not as it is asked
        for, and OSError if the file of the trace cannot be written.
        """
        self.watching: Final = Watching()
        self.errors: Final = Recent()
        """The last that failed, from `begin` on."""
        self._trace = settings.trace_path and TraceFile(settings.trace_path)
        if self._trace is not None:
            self.watching.add(self._trace.recording)
        self.spans: Final = _spans() if settings.otel else None
        if self.spans is not None:
            self.watching.add(self.spans)

    def begin(self) -> None:
        """Remember what fails."""
        self.errors.begin()

    def end(self) -> None:
        """No more; may be called again, and before `begin`."""
        self.errors.end()

    def close(self) -> None:
        """Write, and bring away, what there is."""
        if self._trace is not None:
            self._trace.write()
        if self.spans is not None:
            self.spans.close()


def _spans() -> Spans:
    try:
        from ovms_mp.telemetry.spans import Spans

        return Spans(__version__, exporter(os.environ))
    except ModuleNotFoundError as error:
        raise UsageError('--otel needs: pip install "ovms_mp[otel]"') from error
    except NoExporter as error:
        raise UsageError(str(error)) from error
