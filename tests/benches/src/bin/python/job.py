"""The command line of the programs in Python, as that of the others."""

import argparse
import sys
import threading


def content(size):
    header = b"Subject: one of many\r\n\r\n"
    line = b"The quick brown fox jumps over the lazy dog, and over the next one as well.\r\n"
    return (header + line * (size // len(line) + 1))[: size - 2] + b"\r\n"


def main(send):
    """Calls `send` with the job and a number of messages for each connection, and prints how many were accepted."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--addr", required=True)
    for name, default in ("messages", 1), ("size", 1024), ("recipients", 1), ("connections", 1):
        parser.add_argument(f"--{name}", type=int, default=default)
    job = parser.parse_args()
    job.host, _, port = job.addr.rpartition(":")
    job.port = int(port)
    job.sender = "me@example.org"
    job.to = [f"recipient-{number}@example.net" for number in range(job.recipients)]
    job.content = content(job.size)
    each, rest = divmod(job.messages, job.connections)
    shares = [each + (number < rest) for number in range(job.connections)]
    if job.connections == 1:
        print(send(job, each))
        return
    accepted = []
    threads = [threading.Thread(target=lambda share=share: accepted.append(send(job, share))) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if len(accepted) < len(shares):
        sys.exit("a thread failed")
    print(sum(accepted))
