"""The operators' pages about deployments, clusters and scheduling; one module each."""
