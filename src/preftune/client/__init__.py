"""The network: the only room that reaches it. Import `Client` and `AsyncClient` from `preftune`."""
