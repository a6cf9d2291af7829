"""Studies of several networks: consistency, correspondence, agreement with other data."""
