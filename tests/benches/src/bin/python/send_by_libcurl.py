"""libcurl, by pycurl: all but this loop is C."""

import io

import job
import pycurl


def send(job, messages):
    curl = pycurl.Curl()
    curl.setopt(pycurl.URL, f"smtp://{job.host}:{job.port}/me.example.org")
    curl.setopt(pycurl.MAIL_FROM, job.sender)
    curl.setopt(pycurl.MAIL_RCPT, job.to)
    curl.setopt(pycurl.UPLOAD, 1)
    curl.setopt(pycurl.NOSIGNAL, 1)
    for _ in range(messages):
        curl.setopt(pycurl.READDATA, io.BytesIO(job.content))
        # It raises what is not accepted.
        curl.perform()
    curl.close()
    return messages


job.main(send)
