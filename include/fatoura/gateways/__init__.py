"""SMS providers: one small interface, one file a provider."""
