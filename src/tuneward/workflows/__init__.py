"""The road: one verb per file. Joins rooms; holds no SQL, no tensors, no loops over records."""
