"""The commands: orthotrace-train, what users are told, the progress bar."""
