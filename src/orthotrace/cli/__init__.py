"""The commands: Hydra runs the jobs, a user's mistake is one line, a progress bar."""
