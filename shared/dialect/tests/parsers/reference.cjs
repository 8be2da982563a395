// Answers, line by line, what the reference codecs make of each case. Everything is JSON; bytes are base64.
"use strict";

const { Decoder, Encoder } = require("socket.io-parser");
const { decodePayload, encodePayload } = require("engine.io-parser");

const isBytes = (value) => Buffer.isBuffer(value);
const toMessage = (value) => (isBytes(value) ? { bytes: value.toString("base64") } : { text: value });
const fromMessage = (message) => (message.bytes === undefined ? message.text : Buffer.from(message.bytes, "base64"));

// Buffers within data travel as {"$bytes": base64}.
function withBytes(value) {
  if (Array.isArray(value)) return value.map(withBytes);
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "base64");
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withBytes(inner)]));
}
function withoutBytes(value) {
  if (isBytes(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(withoutBytes);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withoutBytes(inner)]));
}

const answers = {
  // Messages to Socket.IO packets, up to the first error.
  decode({ messages }) {
    const decoder = new Decoder();
    const packets = [];
    decoder.on("decoded", (packet) => packets.push({ ...packet, data: withoutBytes(packet.data) }));
    try {
      messages.forEach((message) => decoder.add(fromMessage(message)));
      return { packets, error: null };
    } catch (error) {
      return { packets, error: error.message };
    }
  },
  // A Socket.IO packet to messages.
  encode({ packet }) {
    const encoded = new Encoder().encode({ ...packet, data: withBytes(packet.data) });
    return { messages: encoded.map(toMessage) };
  },
  // A polling payload to Engine.IO packets, the last of type "error" where one is broken.
  payload({ text }) {
    return { packets: decodePayload(text, "nodebuffer").map(({ type, data }) => ({ type, ...(data === undefined ? {} : toMessage(data)) })) };
  },
  // Messages to a polling payload.
  encodePayload({ messages }) {
    let text;
    encodePayload(messages.map((message) => ({ type: "message", data: fromMessage(message) })), (encoded) => (text = encoded));
    return { text };
  },
};

let rest = "";
process.stdin.setEncoding("utf8");
process.stdin.on("data", (chunk) => (rest += chunk));
process.stdin.on("end", () => {
  const lines = rest.split("\n").filter((line) => line !== "");
  process.stdout.write(lines.map((line) => JSON.stringify(answers[JSON.parse(line).ask](JSON.parse(line))) + "\n").join(""));
});
