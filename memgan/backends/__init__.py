"""How an op is computed.

``dispatch`` is the only module that chooses. ``reference`` is the definition: plain PyTorch, any device.
``native`` holds the fused kernels and builds on ``reference``, which knows nothing of it.
"""
