"""The endpoint as `fareway serve` runs it, on a port: `python -m benchmarks.served PORT`."""

import sys

from fareway.cli.serve import serve

if __name__ == "__main__":
    serve(host="127.0.0.1", port=int(sys.argv[1]))
