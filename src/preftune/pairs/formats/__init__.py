"""The layouts that preference data comes in: each file knows one, and names what it cannot express."""
