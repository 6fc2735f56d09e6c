"""How fast the reference model draws and learns, beside the same computation in plain PyTorch."""

import os

# Before torch is imported: its profiler otherwise logs every start to stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
