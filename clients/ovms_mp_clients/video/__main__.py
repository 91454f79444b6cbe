"""`python -m ovms_mp_clients.video` is `ovms-mp-video`."""

import sys

from ovms_mp_clients.video.cli import main

if __name__ == "__main__":
    sys.exit(main())
