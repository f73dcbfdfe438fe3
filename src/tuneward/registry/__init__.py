"""Stage: versions, their AIBOM, card and signature."""
