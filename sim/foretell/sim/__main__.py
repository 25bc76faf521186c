"""`python -m foretell.sim` is `foretell`."""

from foretell.sim.cli import main

if __name__ == "__main__":
    main(prog_name="foretell")
