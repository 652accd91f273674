"""Cut-off warnings: who is warned that supply may be cut, who must not be, and what becomes of each case."""
