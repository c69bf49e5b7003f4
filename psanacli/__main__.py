"""Where the command `psana` begins, also as ``python -m psanacli``.

Nothing is imported here: a Ctrl-C while the command is loaded ends the process as quietly as any later one.
"""

from typing import NoReturn


def main() -> NoReturn:
    """Run the command line of this process, and end it."""
    try:
        from psanacli.commands.main import main as psana
    except KeyboardInterrupt:
        import os

        # Nothing is open yet. The interpreter's own end would answer with SIGINT if a class was being made from text.
        os._exit(130)
    psana()


if __name__ == "__main__":
    main()
