"""smtplib."""

import smtplib
import socket

import job


def send(job, messages):
    with smtplib.SMTP(job.host, job.port) as server:
        server.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.ehlo_or_helo_if_needed()
        return sum(not server.sendmail(job.sender, job.to, job.content) for _ in range(messages))


job.main(send)
