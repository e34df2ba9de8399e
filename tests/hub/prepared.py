"""A Python that has imported what takes long, and becomes a client by a fork: a third of a fresh one's time.

The Hub's clients read where the Hub and the cache are when they are imported, so what is imported here beforehand is
only what does not look: the libraries below them. Each client imports huggingface_hub, datasets and clmkit itself.
"""

import gc
import importlib
import json
import os
import select
import socket
import sys
from contextlib import suppress
from pathlib import Path

BEFORE = "numpy pandas pyarrow.parquet pyarrow.dataset pyarrow.compute pyarrow.csv pyarrow.json aiohttp requests"
BEFORE += (
    " httpx httpx2 httpcore2 truststore unittest.mock xml.etree.ElementTree yaml dill multiprocess xxhash filelock"
)
BEFORE += " packaging.version jinja2 tokenizers safetensors.numpy"
# What reads the environment when it is imported, or starts threads, which no fork survives.
NEVER = (
    "huggingface_hub",
    "datasets",
    "transformers",
    "evaluate",
    "tqdm",
    "matplotlib",
    "torch",
    "tensorflow",
    "clmkit",
)


def wait_for_work(address: str) -> str:
    """Import, and answer at a socket of the file system. Comes back in a client alone, with the code that it is to run.

    A request is a line of JSON: ``code``, ``arguments``, ``environment``, ``folder``, and the files ``stdout`` and
    ``stderr``. The answer is the client's status, when it has ended. At the end of stdin there is no more work.
    """
    for name in BEFORE.split():
        with suppress(ModuleNotFoundError):  # the kernels have different ones
            importlib.import_module(name)
    early = sorted(sys.modules.keys() & set(NEVER))
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    if early or len(threads) - threads.count("jemalloc_bg_thd") > 1:  # pyarrow's memory pool is made for forks
        raise RuntimeError(f"no client can be made by a fork: {early} are imported, and the threads are {threads}")
    gc.freeze()  # a client's collector would touch, and so copy, all of this memory
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen(64)
        print("ready", flush=True)
        while listener in select.select([listener, sys.stdin], [], [])[0]:
            connection = listener.accept()[0]
            if os.fork() == 0:
                break
            connection.close()
            with suppress(ChildProcessError):  # take leave of those who have attended to a client
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
        else:
            sys.exit()
    return _attend(connection)


def _attend(connection: socket.socket) -> str:
    """Fork the client, and tell how it ended; the client itself comes back."""
    with connection, connection.makefile() as lines:
        wanted = json.loads(lines.readline())
        client = os.fork()
        if client:
            status = os.waitstatus_to_exitcode(os.waitpid(client, 0)[1])
            connection.sendall(json.dumps(status).encode())
            os._exit(0)
    for number, (name, flags) in enumerate(
        [(os.devnull, os.O_RDONLY), (wanted["stdout"], os.O_WRONLY), (wanted["stderr"], os.O_WRONLY)]
    ):
        file = os.open(name, flags)
        os.dup2(file, number)
        os.close(file)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    os.chdir(wanted["folder"])
    sys.argv[1:] = wanted["arguments"]
    sys.modules["numpy"].random.seed()
    return str(wanted["code"])
