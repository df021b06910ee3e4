"""The server that aiosmtpd.sh starts: aiosmtpd_server.py HOME CERTS PORT. What it does is described there."""

import asyncio
import os
import ssl
import sys
from itertools import count

from aiosmtpd.lmtp import LMTP
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword, syntax

home, certs, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(f"{home}/accounts", encoding="utf-8") as lines:
    accounts = set(lines.read().split())
with open(f"{home}/passwords", "rb") as lines:
    passwords = dict(line.split(b":") for line in lines.read().split())
numbers = count()

SMTP.line_length_limit = 4096  # longer lines than these are not what the tests are about


def authenticate(_server, _session, _envelope, _mechanism, data):
    good = isinstance(data, LoginPassword) and passwords.get(data.login) == data.password
    return AuthResult(success=good, handled=False)


def mailbox(address):
    """The name of a mailbox, or None. Paths are made only of names that were looked up."""
    user, _, domain = address.rpartition("@")
    if domain != "lab.test":
        return "relay"
    user = user.partition("+")[0]
    return user if user in accounts else None


def store(address, content):
    folder = f"{home}/mail/{mailbox(address)}"
    for name in "tmp", "new", "cur":
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    number = next(numbers)
    with open(f"{folder}/tmp/{number}", "wb") as file:
        file.write(content)
    os.rename(f"{folder}/tmp/{number}", f"{folder}/new/{number}")


class Handler:
    refusals = {"refused": "550 5.1.1 mailbox unavailable", "tempfail": "450 4.2.1 try again later"}

    async def handle_RCPT(self, _server, session, envelope, address, _options):
        user, _, domain = address.rpartition("@")
        if user in self.refusals:
            return self.refusals[user]
        if domain != "lab.test" and not session.authenticated:
            return "550 5.7.1 no relaying"
        if mailbox(address) is None:
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"

    async def handle_DATA(self, _server, _session, envelope):
        if b"X-Lab: reject-eod" in envelope.content.partition(b"\r\n\r\n")[0]:
            return "550 5.7.1 refused after the end of the data"
        for address in envelope.rcpt_tos:
            store(address, envelope.content)
        return "250 2.0.0 stored"


class LmtpHandler(Handler):
    """As Handler, but the answer to the data has a reply for each recipient."""

    refusals = {"refused": "550 5.1.1 mailbox unavailable"}
    after_data = {"overquota": "552 5.2.2 mailbox full", "tempfail": "451 4.2.0 try again later"}

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.rpartition("@")[0] in self.after_data:
            envelope.rcpt_tos.append(address)
            return "250 2.1.5 ok"
        return await super().handle_RCPT(server, session, envelope, address, options)

    async def handle_DATA(self, _server, _session, envelope):
        replies = []
        for address in envelope.rcpt_tos:
            reply = self.after_data.get(address.rpartition("@")[0])
            if reply is None:
                store(address, envelope.content)
            replies.append(reply or "250 2.0.0 stored")
        return "\r\n".join(replies)


class Server(SMTP):
    @syntax("DATA")
    async def smtp_DATA(self, arg):
        if self.envelope.mail_from and self.envelope.mail_from.startswith("nodata@"):
            await self.push("554 5.7.1 DATA refused")
        else:
            await super().smtp_DATA(arg)


async def main():
    loop = asyncio.get_running_loop()
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(f"{certs}/server.chain.pem", f"{certs}/server.key")
    common = {"hostname": "aiosmtpd.lab.test", "loop": loop, "data_size_limit": 60_000_000, "enable_SMTPUTF8": True}
    login = {**common, "authenticator": authenticate}
    clear = {**login, "auth_require_tls": False}

    async def listen(offset, make, **options):
        await loop.create_server(make, "127.0.0.1", port + offset, **options)

    def lmtp():
        return LMTP(LmtpHandler(), **common)

    await loop.create_unix_server(lmtp, f"{home}/lmtp.sock")
    await listen(0, lambda: Server(Handler(), tls_context=tls, **clear))
    await listen(1, lambda: Server(Handler(), **clear), ssl=tls)
    await listen(2, lambda: Server(Handler(), tls_context=tls, require_starttls=True, **login))
    await listen(3, lambda: Server(Handler(), tls_context=tls, timeout=2, **clear))
    await listen(4, lmtp)
    await asyncio.Event().wait()


asyncio.run(main())
