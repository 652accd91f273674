"""Extracts: what the billing system hands over. Manifest, loading, sources, samples."""
