"""Tool: roles, policies, approvals, keys, the audit log, and the one way to change governed state."""
