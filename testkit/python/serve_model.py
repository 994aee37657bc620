"""Serves an embedding model on a free port of loopback, by llama.cpp's own server, until standard input ends.

usage: serve_model.py FILE CONTEXT THREADS

The first line of standard output is the server's URL; FILE is a GGUF, CONTEXT the tokens that a text may have.
"""

import os
import sys

# Threads that wait for each other by spinning take seconds instead of milliseconds where others want the processor.
os.environ["OMP_WAIT_POLICY"] = "passive"

import xllamacpp  # noqa: E402

SLOTS = 8


def main():
    file, context, threads = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.port = 0
    params.embedding = True
    params.n_parallel = SLOTS
    params.n_ctx = context * SLOTS
    # A text must be within one batch, since each of its tokens looks at all others.
    params.n_batch = params.n_ubatch = 4 * context
    params.cpuparams.n_threads = threads
    params.n_gpu_layers = 0
    params.ui = False
    params.verbosity = 1
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.buffer.read()
    # Whoever asked is gone: nothing is left to be finished.
    os._exit(0)


main()
