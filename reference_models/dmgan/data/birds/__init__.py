"""The embedded birds: a procedural, captioned data set with the shape of CUB, drawn from (seed, index).

It needs no download, and the truth about every image is known exactly: attributes, pose, light, and which
attributes each caption mentions. ``attributes`` → ``species`` → ``scene`` → ``geometry`` → ``render``, and
``captions`` beside them; ``dataset`` puts them together.
"""
