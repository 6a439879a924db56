"""A package, so that a test file may carry the same name as one for another layer."""
