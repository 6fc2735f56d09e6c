"""Scores that cannot be bought cheaply: parts, scenes, captions, and one joint gate.

Three networks look at images, and none of them ever trains a generator or sees another's seed:
:class:`Judge` (which value has each attribute), :class:`SceneNet` (features for FID, KID, precision and
recall), :class:`Retrieval` (does the caption fit the image). They ship in ``weights/birds_eval``.
"""
