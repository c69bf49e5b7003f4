"""psanacli.hdf5."""
