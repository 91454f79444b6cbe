"""`python -m ovms_mp` is the console script `ovms-mp`."""

from __future__ import annotations

import sys

from ovms_mp.cli import main

sys.exit(main())
