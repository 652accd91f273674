"""What is personal: where it lies, how it is sealed, how long it is kept; one person's, given or erased."""
