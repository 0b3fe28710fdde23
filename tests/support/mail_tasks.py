"""Carry out the tasks that send mails, from the messages that the product has sent for them."""

from queue import Empty

from hypervisor.celery import app

QUEUE = "engines"


def carry_out_mail_tasks() -> list[str]:
    """Run the tasks whose messages wait in the broker, in this thread; return their names."""
    app.loader.import_default_modules()
    done: list[str] = []
    with app.connection_for_read() as connection, connection.SimpleQueue(QUEUE) as messages:
        while True:
            try:
                message = messages.get(block=False)
            except Empty:
                return done
            name, arguments = message.headers["task"], message.payload[0]
            message.ack()
            if ".mail_" in name:
                app.tasks[name](*arguments)
                done.append(name)
