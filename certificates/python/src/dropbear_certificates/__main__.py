"""Runs ``dropbear-verify`` as ``python -m dropbear_certificates``."""

import sys

from .cli import main

sys.exit(main())
