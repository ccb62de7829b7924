"""What a kernel of `make lab` runs first, so that a missing name is explained before any cell has run."""

# Not an import statement: it would give every notebook a name.
__import__("course_utils.errors")
