"""psanacli.xtc."""
