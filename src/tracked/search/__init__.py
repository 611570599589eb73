"""Search for better parameters: proposals, workers, trials, the winner."""
