"""From a Hydra configuration to objects; names of folders; keys."""
