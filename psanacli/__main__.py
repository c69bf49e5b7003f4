"""``python -m psanacli``: the command `psana` for where scripts are not on the path."""

from psanacli.commands.main import main

if __name__ == "__main__":
    main()
