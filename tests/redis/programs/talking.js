// What programs of Node do beside reading and writing keys: transactions, subscriptions; with ioredis
// and with node-redis. Prints JSON.
"use strict";
const Redis = require("ioredis");
const { createClient } = require("redis");

const path = process.argv[2];

async function withIoredis() {
  const told = {};
  const db = new Redis(path);
  const listener = new Redis(path);
  const messages = [];
  const came = new Promise((resolve) => {
    const note = (...words) => {
      messages.push(words);
      if (messages.length === 3) resolve();
    };
    listener.on("message", (channel, text) => note(channel, text));
    listener.on("pmessage", (pattern, channel, text) => note(pattern, channel, text));
  });
  told.subscribed = await listener.subscribe("news");
  told.psubscribed = await listener.psubscribe("sp*");
  told.published = [
    await db.publish("news", "hello"),
    await db.publish("sport", "goal"),
    await db.publish("none", "nobody"),
  ];
  told.multi = await db.multi().set("io:k", 1).incr("io:k").publish("news", "done").exec();
  await came;
  told.messages = messages;
  await db.watch("io:k");
  await new Redis(path).set("io:k", 7);
  told.aborted = await db.multi().set("io:k", 8).exec();
  told.value = await db.get("io:k");
  told.unsubscribed = await listener.unsubscribe("news");
  listener.disconnect();
  db.disconnect();
  return told;
}

async function withNodeRedis(RESP) {
  const told = {};
  const client = () => createClient({ socket: { path }, RESP, name: "tests" });
  const db = await client().connect();
  const listener = await client().connect();
  const messages = [];
  const came = new Promise((resolve) => {
    const note = (text, channel) => {
      messages.push([channel, text]);
      if (messages.length === 3) resolve();
    };
    listener.subscribe("news", note).then(() => listener.pSubscribe("sp*", note)).then(async () => {
      told.published = [await db.publish("news", "hello"), await db.publish("sport", "goal")];
      told.multi = await db.multi().set("node:k", 1).incr("node:k").publish("news", "done").exec();
    });
  });
  await came;
  told.messages = messages;
  const other = await client().connect();
  const watching = await client().connect();
  await watching.watch("node:k");
  await other.set("node:k", 7);
  try {
    told.aborted = await watching.multi().set("node:k", 8).exec();
  } catch (error) {
    told.aborted = error.constructor.name;
  }
  told.value = await db.get("node:k");
  told.name = await db.clientGetName();
  for (const one of [db, listener, other, watching]) one.destroy();
  return told;
}

async function main() {
  const told = { ioredis: await withIoredis() };
  told.resp2 = await withNodeRedis(2);
  told.resp3 = await withNodeRedis(3);
  console.log(JSON.stringify(told));
  process.exit(0);
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
