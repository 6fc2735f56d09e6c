"""Training: DAMSM pre-training of the encoders, then the adversarial training of generator and discriminators.

``loader`` feeds both; ``step`` is one adversarial update; ``checkpoint`` saves and resumes a run exactly; ``weights``
holds what sampling and evaluation read.
"""
