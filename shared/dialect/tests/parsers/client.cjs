// Plays one socket.io-client against scripted connections: no network, its own transport. One JSON object in, one out.
"use strict";

const { Transport } = require("engine.io-client");
const { Manager } = require("socket.io-client");

const { namespace, connections } = JSON.parse(require("fs").readFileSync(0, "utf8"));
const told = { connects: [], recovered: [], events: [], acks: [] };
let at = -1;

class Scripted extends Transport {
  get name() {
    return "scripted";
  }
  doOpen() {
    at += 1;
    this.onOpen();
    setTimeout(() => this.onData(connections[at].handshake), 0);
  }
  write(packets) {
    this.writable = false;
    for (const { type, data } of packets) {
      if (type === "message" && data.startsWith("0")) {
        told.connects.push(data);
        // Later, as from a network: the client listens only when it has written.
        setTimeout(() => connections[at].frames.forEach((frame) => this.onData(frame)), 0);
        setTimeout(() => this.onClose({ description: "scripted" }), 20);
      }
    }
    setTimeout(() => {
      this.writable = true;
      this.emitReserved("drain");
    }, 0);
  }
  doClose() {}
}

const manager = new Manager("http://localhost", {
  transports: [Scripted],
  reconnectionDelay: 1,
  reconnectionDelayMax: 1,
  reconnectionAttempts: connections.length,
});
const socket = manager.socket(namespace);
const done = () => {
  process.stdout.write(JSON.stringify(told));
  process.exit(0);
};
socket.on("connect", () => {
  told.recovered.push(socket.recovered === true);
  socket.emit("subscribe", "e", (answer) => told.acks.push(answer));
});
socket.on("connect_error", (error) => {
  told.events.push(["connect_error", error.message, error.data]);
  if (!socket.active) done();
});
socket.on("disconnect", (reason) => {
  told.events.push(["disconnect", reason]);
  if (at === connections.length - 1 || !socket.active) done();
});
socket.onAny((...args) => told.events.push(args));
setTimeout(() => {
  process.stderr.write(`the script did not end within 20 s: ${JSON.stringify(told)}\n`);
  process.exit(1);
}, 20000);
