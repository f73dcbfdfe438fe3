"""Tool: from text to Findings."""
