"""From runs and files to RDMs."""
