"""A sender of notices that dies by SIGKILL: `python -m tests.support.dying_sender POINT`.

It dies `before` the mail is sent, or `after` it was sent and before that is recorded.
"""

import os
import signal
import sys
from datetime import timedelta
from typing import Any

import django


def main(point: str) -> None:
    django.setup()
    from django.utils import timezone

    from deployments.notices import mail, sender

    def die(*arguments: Any, **given: Any) -> Any:
        if point == "after":
            original(*arguments, **given)
        os.kill(os.getpid(), signal.SIGKILL)

    original, mail.send = mail.send, die
    sender.collect_and_send()
    sender.collect_and_send(lambda: timezone.now() + timedelta(seconds=11))


if __name__ == "__main__":
    main(sys.argv[1])
