"""Stage: from files to records that may train."""
