#!/bin/sh
# Prints the pods of the sample platform.
exec kubectl get pods --namespace "${1:-poolside}"
