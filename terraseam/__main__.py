"""``python -m terraseam`` is the console script ``terraseam``."""

import sys

from terraseam.pipeline.program import main

sys.exit(main())
