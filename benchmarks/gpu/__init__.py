"""Everything that is worth running where there is a GPU, in one call that can be cut off and goes on."""
