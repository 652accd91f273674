"""How fast the project is and how much memory it takes, as ratios to something bare in the same run."""
