"""psanacli.commands."""
