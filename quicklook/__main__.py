"""``python -m quicklook``."""

from quicklook.cli.main import main

if __name__ == "__main__":
    main()
