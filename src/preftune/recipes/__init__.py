"""Several rooms, one purpose: what joins data, client, server and reading."""
