"""psanacli.run."""
