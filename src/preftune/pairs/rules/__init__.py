"""The rules: each one function from a row (or from the whole file) to problems, none of which raises."""
