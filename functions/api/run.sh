#!/bin/sh
# What the Lambda Web Adapter's layer starts where ResponseTransferMode is RESPONSE_STREAM.
export PYTHONPATH="/opt/python:$LAMBDA_RUNTIME_DIR:$PYTHONPATH"
exec python3.13 stream.py
