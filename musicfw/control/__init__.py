"""Control policies."""
