"""The layouts that preference data comes in: a module a family, and one table of all (`table`).

Importing the hosted layout alone, as every scan does, imports no other.
"""
