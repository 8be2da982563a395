"""A Socket.IO client of Python whose functions take one argument, as people write them.

    driver.py <url> <transports, comma separated> <room> <events>

Subscribes, says so, and tells each event until it has heard as many.
"""

import json
import sys

import socketio

url, transports, room, count = sys.argv[1], sys.argv[2].split(","), sys.argv[3], int(sys.argv[4])
client = socketio.Client()
heard = []


def say(**what):
    print(json.dumps(what), flush=True)


@client.on("log")
def log(event):
    heard.append(event["data"]["n"])
    if len(heard) == count:
        client.disconnect()


client.connect(url, transports=transports)
say(subscribed=client.call("subscribe", room, timeout=20), transport=client.transport())
client.wait()
say(heard=heard)
