"""The ablation: does each part of the memory help, with pairs, seeds and an endpoint named before looking.

``arms`` are the generators, ``cost`` counts them, ``plan`` says what is run, ``training`` and ``runner`` run it,
``statistics`` and ``summary`` compare, ``tables`` and ``figures`` show. ``swaps`` changes one word of a caption.
"""
