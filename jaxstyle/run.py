"""`python -m jaxstyle.run`, which is also the command `jaxstyle`."""

from jaxstyle.cli.main import command

if __name__ == "__main__":
    command()
