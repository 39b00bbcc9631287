"""`python -m jaxstyle`, which is the same as `python -m jaxstyle.run`."""

from jaxstyle.cli.main import command

if __name__ == "__main__":
    command()
