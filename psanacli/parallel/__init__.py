"""psanacli.parallel."""
