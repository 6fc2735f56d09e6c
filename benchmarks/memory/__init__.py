"""How fast the memory's pass over the pixels is, beside four other ways to write it."""

import os

# Before torch is imported: its profiler, which counts the memory, otherwise logs every start to stderr.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
