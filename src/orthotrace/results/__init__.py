"""What a run leaves behind: its folder, scores, summaries, statistics, tables."""
