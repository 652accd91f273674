"""The register of the utility's customers: who has a contract, and where."""
