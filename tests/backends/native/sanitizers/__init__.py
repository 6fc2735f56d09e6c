"""The CPU kernels under address, undefined-behaviour and thread sanitizers, without torch."""
